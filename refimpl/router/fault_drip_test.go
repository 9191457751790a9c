package router

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dripTick is how often the crowd is looked after: a part of it each time, since strangers do not send in step.
const dripTick = time.Millisecond

// dripper is a crowd of clients that send their opener byte by byte, each in a segment of its own, and never come to its end.
type dripper struct {
	conns []net.Conn
	stop  chan struct{}
	done  sync.WaitGroup
	bytes atomic.Int64
}

// dripFirst is what a client sends at once, if anything: enough to tell what it speaks.
const dripFirst = 8

// drip connects n clients, each of which then sends a byte every so often. One that was cut is left alone, or replaced where again is set.
func drip(addr string, n int, opener func(i int) []byte, every time.Duration, again bool) (*dripper, error) {
	d := &dripper{stop: make(chan struct{})}
	sent := make([]int, n)
	connect := func(i int) (net.Conn, error) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		sent[i], err = conn.Write(opener(i)[:min(dripFirst, len(opener(i)))])
		return conn, err
	}
	for i := range n {
		conn, err := connect(i)
		if conn != nil {
			d.conns = append(d.conns, conn)
		}
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	d.done.Go(func() {
		tick := time.NewTicker(dripTick)
		defer tick.Stop()
		part := max(1, int(int64(n)*int64(dripTick)/int64(every)))
		for next := 0; ; next += part {
			for i := next; i < next+part; i++ {
				i := i % n
				text := opener(i)
				if sent[i] == len(text) {
					continue
				}
				_, err := d.conns[i].Write(text[sent[i] : sent[i]+1])
				if sent[i]++; err == nil {
					d.bytes.Add(1)
				} else if again {
					d.conns[i].Close()
					if conn, _ := connect(i); conn != nil { // where there is none, the next write fails and tries again
						d.conns[i] = conn
					}
				}
			}
			select {
			case <-tick.C:
			case <-d.stop:
				return
			}
		}
	})
	return d, nil
}

func (d *dripper) close() error {
	close(d.stop)
	d.done.Wait()
	var errs []error
	for _, conn := range d.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// TestAThousandDrippingClientsAreCutAtTheDeadline has openers of every kind dripped at once. None may reach a backend, none may
// outlive its deadline for going on, and a client who knows what it wants is served among them.
func TestAThousandDrippingClientsAreCutAtTheDeadline(t *testing.T) {
	const clients, timeout = 1000, time.Second
	back, other := serveBackend(t, pureEcho), serveBackend(t, pureEcho)
	dripped := passRoute(back.addr)
	dripped.Name, dripped.SNI = "dripped", []string{"dripped.test"}
	b := startRouter(t, Config{
		Routes: []Route{dripped, passRoute(other.addr)},
		Limits: Limits{ClientHelloTimeout: Duration(timeout)},
	}, func(o *Options) { o.OnHello = nil })
	hello := helloBytes(t, "dripped.test") // at this pace it would take 30 s
	openers := [][]byte{hello, []byte(upgradeRequest[:len(upgradeRequest)-4]), nil}
	d, err := drip(b.Addr().String(), clients, func(i int) []byte { return openers[i%len(openers)] }, 20*time.Millisecond, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.close() }()
	conn, err := routed(b.Addr().String(), helloBytes(t, "pass.test"))
	if err != nil {
		t.Errorf("a client among them: %v", err)
	} else {
		conn.Close()
	}

	for i, conn := range d.conns {
		conn.SetReadDeadline(time.Now().Add(6 * patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("client %d is not cut", i)
		}
	}
	for deadline := time.Now().Add(patience); b.Stats().Active > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open", b.Stats().Active)
		}
	}
	want := map[Ended]int64{
		{Outcome: outcomeHello}: 334, {Outcome: outcomeHTTP}: 333, {Outcome: outcomeSilent}: 333, {Route: "pass", Outcome: outcomeJoined}: 1,
	}
	for key, n := range b.Stats().Ended {
		if n != want[key] {
			t.Errorf("%d ended as %+v, want %d", n, key, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("none ended as %v", want)
	}
	if n := back.accepted.Load(); n > 0 {
		t.Errorf("a dripped hello had a backend dialled %d times", n)
	}
	if d.bytes.Load() == 0 {
		t.Error("nothing was dripped")
	}
	if took := shortest(t, b.log); took < timeout {
		t.Errorf("one was cut after %v, before its deadline of %v", took, timeout)
	}
}

// BenchmarkRoutedWhileDripped asks whether a thousand clients that drip their hellos slow down the others: a new routed connection,
// from connect to the first byte back, with them and without, in turns of ABBA blocks. p99-ratio is with over without.
func BenchmarkRoutedWhileDripped(b *testing.B) {
	const clients, each = 1000, 200
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := back.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				pureEcho(conn)
			})
		}
	})
	defer serving.Wait()
	defer back.Close()
	s, err := New(Config{Listen: "127.0.0.1:0", Routes: []Route{passRoute(back.Addr().String())}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Listen(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	serving.Go(func() { _ = s.Serve(ctx) })
	addr, hello, half := s.Addr().String(), helloBytes(b, "pass.test"), helloBytes(b, "dripped.test")

	var with, without []time.Duration
	measure := func(into *[]time.Duration) {
		for range each {
			began := time.Now()
			conn, err := routed(addr, hello)
			if err != nil {
				b.Fatal(err)
			}
			*into = append(*into, time.Since(began))
			conn.Close()
		}
	}
	dripping := func() {
		d, err := drip(addr, clients, func(int) []byte { return half }, time.Second, true)
		if err != nil {
			b.Fatal(err)
		}
		for s.Stats().Active < clients { // their coming is not what is measured
			runtime.Gosched()
		}
		measure(&with)
		if err := d.close(); err != nil {
			b.Fatal(err)
		}
		for s.Stats().Active > 0 { // nor is their going what is measured
			runtime.Gosched()
		}
	}
	measure(&without) // warms up
	without = nil
	for b.Loop() {
		measure(&without)
		dripping()
		dripping()
		measure(&without)
	}
	p99 := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)*99/100])
	}
	b.ReportMetric(p99(without)/1e3, "p99-µs-without")
	b.ReportMetric(p99(with)/1e3, "p99-µs-with")
	b.ReportMetric(p99(with)/p99(without), "p99-ratio")
	b.ReportMetric(0, "ns/op")
}
