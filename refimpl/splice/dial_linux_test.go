package splice

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialled is what came of a Loop.Dial.
type dialled struct {
	connected, done chan struct{}
	report          Report
	refused         chan refusal
}

type refusal struct {
	client net.Conn
	err    error
}

func startDial(t *testing.T, client net.Conn, d Dial) (*Loop, *dialled) {
	t.Helper()
	loop := new(Loop)
	t.Cleanup(loop.Close)
	r := &dialled{connected: make(chan struct{}), done: make(chan struct{}), refused: make(chan refusal, 1)}
	d.Connected = func() { close(r.connected) }
	d.Refused = func(client net.Conn, err error) { r.refused <- refusal{client, err} }
	if d.Timeout == 0 {
		d.Timeout = patience
	}
	taken := loop.Dial(client, d)
	if taken == nil {
		t.Fatal("not taken")
	}
	taken.Start(func(report Report) {
		r.report = report
		close(r.done)
	})
	return loop, r
}

func listen(t *testing.T) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener), l.Addr().(*net.TCPAddr).AddrPort() //nolint:forcetypeassert // of tcp they are
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("not " + what)
	}
}

func TestDialSendsWhatIsHeldAndThenCarries(t *testing.T) {
	l, to := listen(t)
	peer, client := tcpPair(t)
	_, r := startDial(t, &ahead{client, []byte("hello")}, Dial{To: to, Before: []byte("header ")})
	backend, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	within(t, "connected", r.connected)
	send(t, peer, ", world")
	_ = peer.CloseWrite()
	if got, err := io.ReadAll(backend); err != nil || string(got) != "header hello, world" {
		t.Errorf("the backend has read %q, %v", got, err)
	}
	// More than both kernels hold: the client, who was never asked about its room, must be waited for.
	bulk := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() {
		_, _ = backend.Write(bulk)
		backend.Close()
	}()
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, bulk) {
		t.Errorf("the client has read %d of %d bytes, %v", len(got), len(bulk), err)
	}
	within(t, "done", r.done)
	if r.report.End != EndEOF || r.report.AToB != int64(len("hello, world")) || r.report.BToA != int64(len(bulk)) {
		t.Errorf("%+v", r.report)
	}
}

func TestARefusedDialGivesTheClientBackWhole(t *testing.T) {
	l, to := listen(t)
	_ = l.Close()
	peer, client := tcpPair(t)
	_, r := startDial(t, &ahead{client, []byte("hello")}, Dial{To: to, Before: []byte("header ")})
	refused := <-r.refused
	if !errors.Is(refused.err, syscall.ECONNREFUSED) || !strings.HasPrefix(refused.err.Error(), "dial tcp "+to.String()) {
		t.Errorf("refused: %v", refused.err)
	}
	defer refused.client.Close()
	send(t, peer, ", world")
	_ = peer.CloseWrite()
	if got, err := io.ReadAll(refused.client); err != nil || string(got) != "hello, world" {
		t.Errorf("read of the client: %q, %v", got, err)
	}
	select {
	case <-r.connected:
		t.Error("told as connected")
	default:
	}
}

// A session keeps what it could not send, its goodbye too, until its client has room: nobody has asked about that room before.
func TestDialCarriesATLSSession(t *testing.T) {
	l, to := listen(t)
	peer, _, client := tlsPair(t)
	_, r := startDial(t, client, Dial{To: to, Before: []byte("header ")})
	backend, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	send(t, peer, "hello")
	_ = peer.CloseWrite()
	wantEOF(t, backend.(*net.TCPConn), "header hello") //nolint:forcetypeassert // of a TCP listener
	bulk := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() {
		_, _ = backend.Write(bulk)
		backend.Close()
	}()
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, bulk) {
		t.Errorf("the client has read %d of %d bytes, %v", len(got), len(bulk), err)
	}
	_ = peer.Close()
	within(t, "done", r.done)
	if r.report.End != EndEOF || r.report.BToA != int64(len(bulk)) {
		t.Errorf("%+v", r.report)
	}
}

func TestARefusedDialGivesATLSSessionBack(t *testing.T) {
	l, to := listen(t)
	_ = l.Close()
	peer, _, client := tlsPair(t)
	send(t, peer, "hello")
	_, r := startDial(t, client, Dial{To: to})
	refused := <-r.refused
	if refused.client != net.Conn(client) || !errors.Is(refused.err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v, %v", refused.client, refused.err)
	}
	_ = peer.CloseWrite()
	if got, err := io.ReadAll(client); err != nil || string(got) != "hello" {
		t.Errorf("read of the client: %q, %v", got, err)
	}
}

// blackHole is an address whose queue of connections is full: the kernel drops the next SYN.
func blackHole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port)) //nolint:forcetypeassert // as bound
	for range 8 {
		conn, err := net.DialTimeout("tcp", to.String(), 200*time.Millisecond)
		if err != nil {
			return to
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return to
}

func TestADialEndsWithItsTime(t *testing.T) {
	_, client := tcpPair(t)
	_, r := startDial(t, client, Dial{To: blackHole(t), Timeout: 50 * time.Millisecond})
	refused := <-r.refused
	defer refused.client.Close()
	if !errors.Is(refused.err, os.ErrDeadlineExceeded) {
		t.Errorf("refused: %v", refused.err)
	}
}

func TestCloseEndsADialToo(t *testing.T) {
	peer, client := tcpPair(t)
	loop, r := startDial(t, client, Dial{To: blackHole(t), Before: []byte("header ")})
	loop.Close()
	within(t, "done", r.done)
	if r.report.End != EndCancelled || r.report.AToB != 0 {
		t.Errorf("%+v", r.report)
	}
	wantReset(t, peer)
}

func TestADialThatCannotBeginIsNotTaken(t *testing.T) {
	peer, client := tcpPair(t)
	loop := new(Loop)
	defer loop.Close()
	wrong := Dial{To: netip.MustParseAddrPort("127.0.0.1:1"), Timeout: patience, Control: func(int) error { return unix.EPERM }}
	if loop.Dial(client, wrong) != nil || loop.Dial(struct{ net.Conn }{client}, Dial{To: wrong.To}) != nil {
		t.Fatal("taken")
	}
	send(t, peer, "x")
	if n, err := client.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("the client has changed: %d, %v", n, err)
	}
}
