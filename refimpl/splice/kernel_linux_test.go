package splice

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The router has not yet read all that the backend said when it finds out, by writing, that the backend has gone: behind a FIN, which
// makes the answer whole, or by a reset alone. The kernel reports a reset once: when the router's write gets the report, its read
// behind that looks like a clean end.
func TestJoinDeliversWhatItHasNotReadWhenAWriteMeetsTheEnd(t *testing.T) {
	for _, whole := range []bool{true, false} {
		t.Run(fmt.Sprintf("whole %v", whole), func(t *testing.T) {
			each(t, func(t *testing.T, wrap func(*net.TCPConn) net.Conn) {
				ca, a := tcpPair(t)
				cb, b := tcpPair(t)
				look, err := detach(b) // before b is taken
				if err != nil {
					t.Fatal(err)
				}
				tn := start(t, wrap(a), wrap(b))
				send(t, ca, "never read")
				sent := fill(t, cb, look)
				if whole {
					_ = cb.CloseWrite()
					acknowledged(t, cb)
					_ = cb.Close() // "never read" is unread: a reset behind the FIN
				} else {
					reset(t, cb)
				}
				send(t, ca, "nobody there")
				var got []byte
				if whole {
					var err error
					if got, err = io.ReadAll(ca); err != nil {
						t.Errorf("after %d bytes: %v", len(got), err)
					}
				} else {
					got = wantReset(t, ca)
				}
				if !bytes.Equal(got, sent) {
					t.Errorf("read %d of %d bytes", len(got), len(sent))
				}
				_ = ca.Close()
				if r := tn.wait(EndResetB); r.BToA != int64(len(sent)) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// fill sends until the router, which has the other end of conn (its descriptor is closed here), has stopped reading because its own peer does not, and returns what
// was sent. All of it is acknowledged, and the last of it is in the router's receive queue.
func fill(t *testing.T, conn *net.TCPConn, router int) (sent []byte) {
	t.Helper()
	defer unix.Close(router)
	rng := rand.NewChaCha8([32]byte{1})
	for stopped := 0; stopped < 50; {
		if stopped == 0 {
			chunk := make([]byte, 16<<10)
			_, _ = rng.Read(chunk)
			send(t, conn, string(chunk))
			sent = append(sent, chunk...)
			acknowledged(t, conn)
		}
		time.Sleep(time.Millisecond)
		if n, err := unix.IoctlGetInt(router, unix.SIOCINQ); err != nil || n < 16<<10 {
			stopped = 0
		} else {
			stopped++
		}
	}
	return sent
}
