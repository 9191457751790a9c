package splice

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What a test's peers read, write and close is not checked where it is assigned to _: the end under test tells what came of it.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen; nothing waits for it when all is well.
const patience = 10 * time.Second

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t *testing.T) (peer, ours *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(accepted)
			return
		}
		accepted <- c
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, ok := <-accepted
	if !ok {
		t.Fatal("nothing accepted")
	}
	peer, ours = c.(*net.TCPConn), s.(*net.TCPConn)
	t.Cleanup(func() { _ = peer.Close(); _ = ours.Close() })
	_ = peer.SetDeadline(time.Now().Add(patience))
	return peer, ours
}

// tunnel is a Join in the background.
type tunnel struct {
	t      *testing.T
	report chan Report
	cancel context.CancelFunc
}

func start(t *testing.T, a, b net.Conn) *tunnel {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tn := &tunnel{t: t, report: make(chan Report, 1), cancel: cancel}
	la, ok := a.(looped)
	if ok {
		a, b = la.TCPConn, b.(looped).TCPConn //nolint:forcetypeassert // both are
	}
	if ok || loopTLS && carriedByLoop(a) && carriedByLoop(b) {
		loop := new(Loop)
		tn.cancel = loop.Close
		t.Cleanup(loop.Close)
		if taken := loop.Take(a, b); taken != nil {
			taken.Start(func(r Report) { tn.report <- r })
			return tn
		}
		if runtime.GOOS == "linux" {
			t.Fatal("two connections were not taken that can be")
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { tn.report <- Join(ctx, a, b, Options{}) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return tn
}

// loopTLS makes start use a Loop where it can: set while TestLoopDoesTheSameWithTLS runs.
var loopTLS bool

func carriedByLoop(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		watched, ok := secure.NetConn().(*Watched)
		return ok && bottom(watched.Conn) != nil
	}
	return bottom(conn) != nil
}

// wait returns the report and checks how the tunnel ended.
func (tn *tunnel) wait(end string) Report {
	tn.t.Helper()
	select {
	case r := <-tn.report:
		if r.End != end {
			tn.t.Errorf("ended %q (%v), want %q", r.End, r.Err, end)
		}
		if (r.Err == nil) != (r.End == EndEOF) {
			tn.t.Errorf("%s with error %v", r.End, r.Err)
		}
		return r
	case <-time.After(patience):
		tn.t.Fatal("the tunnel does not end")
		return Report{}
	}
}

// wantReset reads until the end, which must be a reset, and returns what came before.
func wantReset(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	got, err := io.ReadAll(conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("end after %d bytes: %v, want a reset", len(got), err)
	}
	return got
}

// wantEOF reads until the end, which must be clean.
func wantEOF(t *testing.T, conn io.Reader, want string) {
	t.Helper()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q and a clean end", got, err, want)
	}
}

func send(t *testing.T, conn io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(conn, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// acknowledged waits until the peer's kernel has all that conn sent.
func acknowledged(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	for until := time.Now().Add(patience); unsent(conn) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Errorf("%d bytes are not acknowledged", unsent(conn))
			return
		}
	}
}

func reset(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	if err := conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

var serverConfig = sync.OnceValues(func() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
})

// tlsPair returns a TLS client, its TCP connection, and the server end as a router makes it, over the given connections.
func tlsOver(t *testing.T, client, server net.Conn, maxVersion uint16) (peer, ours *tls.Conn) {
	t.Helper()
	cfg, err := serverConfig()
	if err != nil {
		t.Fatal(err)
	}
	ours = tls.Server(WatchEOF(server), cfg)
	peer = tls.Client(client, &tls.Config{InsecureSkipVerify: true, MaxVersion: maxVersion})
	failed := make(chan error, 1)
	go func() { failed <- peer.Handshake() }()
	if err := errors.Join(ours.Handshake(), <-failed); err != nil {
		t.Fatal(err)
	}
	return peer, ours
}

func tlsPair(t *testing.T) (peer *tls.Conn, raw *net.TCPConn, ours *tls.Conn) {
	t.Helper()
	raw, server := tcpPair(t)
	peer, ours = tlsOver(t, raw, server, 0)
	return peer, raw, ours
}
