package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// TestDrainUnderLoadLosesNoByte begins to drain while tunnels of every transport are in full flow, both ways: all that is sent
// before and after must come back, and the drain ends with the last of them.
func TestDrainUnderLoadLosesNoByte(t *testing.T) {
	const each = 2
	back := serveBackend(t, func(conn net.Conn) {
		pureEcho(conn)
		_ = splice.CloseWrite(conn)
	})
	b := startRouter(t, Config{
		Routes: []Route{echoRoute(back.addr), passRoute(back.addr)},
		Drain:  Drain{Timeout: Duration(10 * patience)},
	})
	var tunnels []net.Conn
	for range each {
		for _, transport := range transports {
			conn := b.stream(t, transport)
			conn.SetDeadline(time.Now().Add(6 * patience))
			tunnels = append(tunnels, secure(t, conn, b.clientConfig("echo.routes.example.test", "echo")))
			<-b.hellos
		}
		conn, err := routed(b.Addr().String(), helloBytes(t, "pass.test"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		tunnels = append(tunnels, conn)
		<-b.hellos
	}

	var flowing, senders sync.WaitGroup
	draining := make(chan struct{})
	results := make(chan error, len(tunnels))
	flowing.Add(len(tunnels))
	for i, conn := range tunnels {
		// Numbered lines: what is lost, doubled or exchanged with another tunnel shows.
		before, after := numbered(i, "before", 4_000), numbered(i, "after", 4_000)
		senders.Go(func() {
			_, err := conn.Write(before)
			<-draining
			if err == nil {
				_, err = conn.Write(after)
			}
			_ = splice.CloseWrite(conn)
			if err != nil {
				t.Errorf("tunnel %d: %v", i, err)
			}
		})
		senders.Go(func() {
			first := make([]byte, 1)
			_, err := io.ReadFull(conn, first)
			flowing.Done()
			rest, restErr := io.ReadAll(conn)
			if err = errors.Join(err, restErr); err == nil && !bytes.Equal(append(first, rest...), append(before, after...)) {
				err = fmt.Errorf("%d bytes came back, not the %d sent", 1+len(rest), len(before)+len(after))
			}
			results <- err
		})
	}
	flowing.Wait()
	drained := make(chan error, 1)
	go func() { drained <- b.Shutdown(context.Background()) }()
	for b.Ready() {
		runtime.Gosched()
	}
	close(draining)
	for range tunnels {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	senders.Wait()
	if err := <-drained; err != nil {
		t.Errorf("the drain: %v", err)
	}
	if s := b.Stats(); s.Active != 0 || s.In != s.Out || s.Tunnels != 0 {
		t.Errorf("afterwards %+v", s)
	}
}

func numbered(tunnel int, word string, lines int) []byte {
	var b bytes.Buffer
	for n := range lines {
		fmt.Fprintf(&b, "%d %s %d\n", tunnel, word, n)
	}
	return b.Bytes()
}
