package router

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// closedPort is an address that refuses connections. It is one that no other test listens at or dials from.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// several is an echo route, in either mode, to several addresses.
func several(mode string, addresses ...string) Route {
	r := echoRoute("")
	r.Mode = mode
	r.Backend = Backend{Addresses: addresses}
	return r
}

func (b *bench) reach(t *testing.T) string {
	t.Helper()
	conn := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo"))
	defer conn.Close()
	return readLine(t, conn)
}

func TestTheNextAddressIsTriedAndTheFailedOneLast(t *testing.T) {
	dead := closedPort(t)
	two, three := echoBackend(t, "two"), echoBackend(t, "three")
	b := startRouter(t, Config{Routes: []Route{several(ModeTerminate, dead, two.addr, three.addr)}})
	for range 3 {
		if got := b.reach(t); got != "two" {
			t.Errorf("reached %q", got)
		}
	}
	if got := b.Stats().Failovers; got != 1 {
		t.Errorf("%d failovers, want 1: the address that failed was tried first again", got)
	}
	if n := three.accepted.Load(); n != 0 {
		t.Errorf("the third address got %d connections", n)
	}
	// A reload forgets what failed.
	if err := b.Reload(b.config); err != nil {
		t.Fatal(err)
	}
	if got := b.reach(t); got != "two" || b.Stats().Failovers != 2 {
		t.Errorf("after a reload: reached %q with %d failovers, want 2", got, b.Stats().Failovers)
	}
}

func TestAnAddressThatAcceptsAndIsSilentTakesItsShareOnly(t *testing.T) {
	ca := newAuthority(t)
	silent := serveBackend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	good := tlsEcho(t, ca.leaf(t, "127.0.0.1"), nil)
	r := several(ModeTerminate, silent.addr, good.addr)
	r.Backend.TLS, r.Backend.CA, r.Backend.DialTimeout = TLSOn, ca.caFile(t), Duration(4*time.Second)
	b := startRouter(t, Config{Routes: []Route{r}})
	if got := b.reach(t); got != "tls" {
		t.Errorf("reached %q", got)
	}
	if b.reach(t); silent.accepted.Load() != 1 {
		t.Errorf("the silent address was dialled %d times", silent.accepted.Load())
	}
}

func TestEveryAddressThatFailedIsNamed(t *testing.T) {
	one, two := closedPort(t), closedPort(t)
	r := several(ModeTerminate, one, two)
	r.ALPN = []string{"echo", "echo-ping"}
	b := startRouter(t, Config{Routes: []Route{r}})
	for _, alpn := range r.ALPN { // the second time both are suspect, and are tried all the same
		conn := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", alpn))
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client read %v, want a reset", err)
		}
	}
	b.log.wait(t, "conn_id=2", "outcome=dial_failed", one, two)
	if got := b.Stats().Failovers; got != 0 {
		t.Errorf("%d failovers to nowhere", got)
	}
}

func TestThereIsNoFailoverOnceAByteWasSent(t *testing.T) {
	for _, mode := range []string{ModeTerminate, ModePassthrough} {
		dying := serveBackend(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0)
		})
		next := echoBackend(t, "next")
		b := startRouter(t, Config{Routes: []Route{several(mode, dying.addr, next.addr)}})
		tcp := b.tcp(t)
		if mode == ModeTerminate {
			conn := secure(t, tcp, b.clientConfig("echo.routes.example.test", "echo"))
			_, _ = io.WriteString(conn, "x")
			_, _ = io.ReadAll(conn)
		} else {
			_ = tls.Client(tcp, b.clientConfig("echo.routes.example.test", "echo")).Handshake()
		}
		b.log.wait(t, "outcome=joined", "reset-b")
		if n := next.accepted.Load(); n != 0 {
			t.Errorf("%s: the next address got %d connections", mode, n)
		}
	}
}

func TestSuspectAddressesComeLastInTheirOrder(t *testing.T) {
	u := new(faults).upstream("", Backend{Addresses: []string{"a", "b", "c", "d"}})
	u.addresses[0].down.Store(true)
	u.addresses[2].fail()
	long := time.Now().Add(-failedFor)
	u.addresses[3].failed.Store(&long)
	var got []string
	for _, a := range u.order() {
		got = append(got, a.hostport)
	}
	if want := []string{"b", "d", "a", "c"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

// serveAt is echoBackend at an address of the test's choice.
func serveAt(t *testing.T, at, name string) {
	t.Helper()
	listener, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				echo(conn, name)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
}

func TestTheActiveCheckFindsAnAddressDownAndUpAgain(t *testing.T) {
	at := closedPort(t)
	second := echoBackend(t, "second")
	r := several(ModeTerminate, at, second.addr)
	r.Backend.Health.Interval = Duration(20 * time.Millisecond)
	b := startRouter(t, Config{Routes: []Route{r}})
	b.log.wait(t, "level=WARN", "route=echo", "backend="+at, "is down")
	if got := b.reach(t); got != "second" || b.Stats().Failovers != 0 {
		t.Errorf("reached %q with %d failovers, want the check to have spared the attempt", got, b.Stats().Failovers)
	}
	serveAt(t, at, "primary")
	b.log.wait(t, "level=INFO", "route=echo", "backend="+at, "is up again")
	if got := b.reach(t); got != "primary" {
		t.Errorf("reached %q", got)
	}

	checking := func() bool {
		stacks := make([]byte, 1<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*address).watch("))
	}
	if !checking() {
		t.Error("no check is running")
	}
	config := b.config.clone()
	config.Routes[0].Backend.Health.Interval = 0
	if err := b.Reload(config); err != nil {
		t.Fatal(err)
	}
	if checking() {
		t.Error("the check outlived the document that asked for it")
	}
}
