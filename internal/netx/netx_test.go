package netx_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// wrapped hides everything but net.Conn, and can be unwrapped.
type wrapped struct{ net.Conn }

func (w wrapped) Unwrap() net.Conn { return w.Conn }

func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestResetReachesThePeerThroughWrappers(t *testing.T) {
	client, server := pair(t)
	if err := netx.Reset(wrapped{wrapped{client}}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer read %v, want a reset", err)
	}
}

func TestCloseWriteLeavesTheOtherDirectionOpen(t *testing.T) {
	client, server := pair(t)
	if err := netx.CloseWrite(client); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the peer read %v, want EOF", err)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v after the half-close", n, err)
	}
	if err := netx.CloseWrite(wrapped{client}); !errors.Is(err, netx.ErrNoHalfClose) {
		t.Errorf("a connection without CloseWrite: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	address, release, err := netx.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialled %v, %v", c, err)
	}
	if l, err := net.Listen("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("somebody else got the address: %v, %v", l, err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	l.Close()
}

// TestRefuseAtKeepsThePortOfAServer plays a server that dies and comes back.
func TestRefuseAtKeepsThePortOfAServer(t *testing.T) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	if _, err := netx.RefuseAt(address); runtime.GOOS == "linux" && !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("beside a server that lives: %v", err)
	}
	first.Close()
	release, err := netx.RefuseAt(address)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("somebody accepts")
	}
	second, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := release(); err != nil {
		t.Error(err)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
