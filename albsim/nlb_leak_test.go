package albsim

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestTenThousandFlowsLeaveNothing has clients of every sort come and go in waves through a TCP and a TLS listener. Behind
// each wave goroutines, descriptors and the table of flows are back where they began.
func TestTenThousandFlowsLeaveNothing(t *testing.T) {
	// Nothing but a writer: a TCP connection would splice, and the pipes of that wait in a pool for the garbage collector.
	at := sink(t, func(c *client) { _, _ = io.Copy(struct{ io.Writer }{c.Conn}, c.br) })
	cfg := throughTLS(t, "HTTP1Only", at.addr)
	cfg.Listeners = append(cfg.Listeners, throughTCP().Listeners...)
	m := start(t, cfg, Options{})
	addrs := m.Addrs()
	const waves, workers, each = 5, 20, 100
	if err := oneFlow(addrs[0].String(), addrs[1].String(), 0); err != nil { // what is made once is made now
		t.Fatal(err)
	}
	settle := func(goroutines, descriptors int) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(4 * patience); ; <-tick.C {
			m.mu.Lock()
			conns := len(m.conns)
			m.mu.Unlock()
			flows, leases, slots := m.Metrics()["ActiveFlowCount"], m.first().outstanding.Load(), len(m.slots)
			g, d := runtime.NumGoroutine(), openDescriptors(t)
			// Each listener's accept loop holds a slot.
			if conns == 0 && flows == 0 && leases == 0 && slots <= len(addrs) && g <= goroutines && d <= descriptors {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d connections, %d flows, %d leases, %d slots, %d goroutines (%d before), %d descriptors (%d before)",
					conns, flows, leases, slots, g, goroutines, d, descriptors)
			}
		}
	}
	settle(1<<20, 1<<20)
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	for range waves {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					if err := oneFlow(addrs[0].String(), addrs[1].String(), w+i); err != nil {
						t.Errorf("client %d of worker %d: %v", i, w, err)
						return
					}
				}
			})
		}
		wg.Wait()
		settle(goroutines, descriptors)
	}
	if n := m.Metrics()["NewFlowCount"]; n < waves*workers*each/2 {
		t.Errorf("%d flows reached the target", n)
	}
}

// oneFlow opens the i-th flow, one of six sorts.
func oneFlow(overTLS, overTCP string, i int) error {
	address := overTCP
	if i%6 > 3 {
		address = overTLS
	}
	// Several addresses: a port stays taken for a minute behind the end of its connection.
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(4 * patience)); err != nil {
		return err
	}
	echoed := func(c io.ReadWriter) error {
		say(c, "ping")
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
			return fmt.Errorf("read %q, %w", b, err)
		}
		return nil
	}
	switch i % 6 {
	case 0: // ends its direction, and waits for the target's end
		if err := echoed(conn); err != nil {
			return err
		}
		if err := closeWrite(conn); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, conn)
	case 1: // nothing at all
	case 2:
		err = echoed(conn)
		reset(conn)
	case 3:
		say(conn, "and is gone")
	case 4: // no handshake comes of it
		say(conn, "\x16\x03\x01\x02\x00\x01")
	case 5: // nothing on this listener either, but for every fifth: a handshake costs more than all else here
		if i/6%5 != 0 {
			break
		}
		secured := tls.Client(conn, &tls.Config{
			InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, CurvePreferences: []tls.CurveID{tls.X25519}, // the cheapest
		})
		if err = echoed(secured); err == nil {
			err = secured.Close()
		}
	}
	return err
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
