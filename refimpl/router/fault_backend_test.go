//go:build linux

package router

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// blackHole is an address that answers no SYN: the queue of its listener is full, and Linux then drops what comes.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 8 { // a queue of 0 takes one or two
		conn, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

// TestABlackHoledBackendHoldsNobodyElseUp has backends that never answer: one no SYN, one no ClientHello. Their clients are reset when
// the time for a backend is over, and others are served meanwhile.
func TestABlackHoledBackendHoldsNobodyElseUp(t *testing.T) {
	mute := serveBackend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	good := serveBackend(t, pureEcho)
	hole := passRoute(blackHole(t))
	hole.Name, hole.SNI = "hole", []string{"hole.test"}
	silent := echoRoute(mute.addr)
	silent.Backend.TLS = TLSOn
	b := startRouter(t, Config{Routes: []Route{hole, silent, passRoute(good.addr)}})

	lost := b.tcp(t)
	if _, err := lost.Write(helloBytes(t, "hole.test")); err != nil {
		t.Fatal(err)
	}
	waiting := secure(t, b.tcp(t), b.clientConfig("echo.routes.example.test", "echo"))
	for _, conn := range []net.Conn{lost, waiting} {
		conn.SetDeadline(time.Now().Add(6 * patience))
	}
	for range 10 {
		conn, err := routed(b.Addr().String(), helloBytes(t, "pass.test"))
		if err != nil {
			t.Fatalf("another client: %v", err)
		}
		conn.Close()
	}
	for name, conn := range map[string]net.Conn{"hole": lost, "echo": waiting} {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
		b.log.wait(t, "route="+name, "outcome=dial_failed")
	}
}

// TestABackendThatDiesMidStreamIsNoCleanEnd is the passthrough path, on which nobody but the kernel says how a stream ended.
func TestABackendThatDiesMidStreamIsNoCleanEnd(t *testing.T) {
	back := serveBackend(t, func(conn net.Conn) {
		_, _ = io.CopyN(conn, conn, 64) // of a ClientHello that is longer
		_ = conn.(*net.TCPConn).SetLinger(0)
	})
	b := startRouter(t, Config{Routes: []Route{passRoute(back.addr)}})
	hello := helloBytes(t, "pass.test")
	for _, transport := range transports {
		conn := b.stream(t, transport)
		if _, err := conn.Write(hello); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes and %v, want them and an abort", transport, len(got), err)
		} else if string(got) != string(hello[:64]) {
			t.Errorf("%s: of the 64 bytes before the end %d came", transport, len(got))
		}
		<-b.hellos
	}
	b.log.wait(t, "route=pass", "outcome=joined", "reset-b")
}
