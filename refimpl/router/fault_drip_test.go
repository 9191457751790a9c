package router

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dripTick is how often the crowd is looked after: those who are due by then, since strangers do not send in step.
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
		began := time.Now()
		for next := 0; ; {
			due := int(time.Since(began) * time.Duration(n) / every)
			for last := min(due, next+n); next < last; next++ { // a round at most, so that the end is not missed where they are too many
				i := next % n
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

// BenchmarkRoutedWhileDripped asks how much a thousand strangers who drip their openers move the p99 of others. The others are two clients
// who open one routed connection after the other, from connect to the echo of the first byte, as fast as they can. An iteration is a block
// of four windows, without, with, with, without: each window with the crowd is divided by its neighbour without it, and p99-ratio is the
// median of these, in the 95% interval from ratio-low to ratio-high. The two outer windows of a block, divided likewise, are
// null-ratio, which is 1 but for the machine's own noise. The crowd is one goroutine that writes a byte a millisecond (it fails
// where it could not), and its coming and going are not measured: what is left is the router's, and the kernel's.
//
//	go test -run '^$' -bench RoutedWhileDripped -benchtime 40x ./refimpl/router
func BenchmarkRoutedWhileDripped(b *testing.B) {
	const strangers, clients, each = 1000, 2, 1000
	back := serveBackend(b, pureEcho)
	r := startRouter(b, Config{Routes: []Route{passRoute(back.addr)}}, func(o *Options) {
		o.OnHello, o.Logger = nil, slog.New(slog.DiscardHandler)
	})
	addr, hello := r.Addr().String(), helloBytes(b, "pass.test")
	openers := [][]byte{helloBytes(b, "dripped.test"), []byte(upgradeRequest)} // both of more bytes than seconds
	active := func(want func(int64) bool) {
		b.Helper()
		for deadline := time.Now().Add(3 * patience); !want(int64(r.Stats().Active)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatalf("%d connections are open", r.Stats().Active)
			}
		}
	}
	window := func() float64 {
		b.Helper()
		var took [clients][]time.Duration
		var failed [clients]error
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() { took[i], failed[i] = openInTurn(addr, hello, each) })
		}
		wg.Wait()
		if err := errors.Join(failed[:]...); err != nil {
			b.Fatal(err)
		}
		all := slices.Concat(took[:]...)
		slices.Sort(all)
		return float64(all[len(all)*99/100]) / 1e3
	}

	var without, with, ratios, nulls []float64
	var drips int64
	var dripped time.Duration
	window() // warms up
	for b.Loop() {
		active(func(n int64) bool { return n == 0 })
		first := window()
		d, err := drip(addr, strangers, func(i int) []byte { return openers[i%len(openers)] }, time.Second, true)
		if err != nil {
			b.Fatal(err)
		}
		active(func(n int64) bool { return n >= strangers })
		before, began := d.bytes.Load(), time.Now()
		second, third := window(), window()
		drips, dripped = drips+d.bytes.Load()-before, dripped+time.Since(began)
		if err := d.close(); err != nil {
			b.Fatal(err)
		}
		active(func(n int64) bool { return n == 0 })
		fourth := window()
		without, with = append(without, first, fourth), append(with, second, third)
		ratios, nulls = append(ratios, second/first, third/fourth), append(nulls, fourth/first)
	}
	low, ratio, high := medianInterval(ratios)
	_, null, _ := medianInterval(nulls)
	_, usual, _ := medianInterval(without)
	_, amid, _ := medianInterval(with)
	b.ReportMetric(usual, "p99-µs-without")
	b.ReportMetric(amid, "p99-µs-with")
	b.ReportMetric(ratio, "p99-ratio")
	b.ReportMetric(low, "ratio-low")
	b.ReportMetric(high, "ratio-high")
	b.ReportMetric(null, "null-ratio")
	rate := float64(drips) / dripped.Seconds()
	b.ReportMetric(rate, "drips/s")
	b.ReportMetric(0, "ns/op")
	if rate < 0.9*strangers {
		b.Errorf("%.0f bytes a second were dripped, %d were planned", rate, strangers)
	}
}

// openInTurn opens n routed connections, one after the other, and says how long each took until it echoed.
func openInTurn(addr string, hello []byte, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		conn, err := routed(addr, hello)
		if err != nil {
			return nil, err
		}
		took[i] = time.Since(began)
		conn.Close()
	}
	return took, nil
}

// medianInterval is the median with an interval that holds the true one in 95% of cases, whatever the distribution: between two order
// statistics, by the sign test. Below 6 values there is none, and it is their whole range. It sorts x.
func medianInterval(x []float64) (low, median, high float64) {
	slices.Sort(x)
	n := len(x)
	cut, term, sum := 0, math.Pow(0.5, float64(n)), 0.0 // term is the chance that exactly cut values lie below the true median
	for ; cut < n/2; cut++ {
		if sum += term; sum > 0.025 {
			break
		}
		term *= float64(n-cut) / float64(cut+1)
	}
	at := max(0, cut-1)
	return x[at], (x[(n-1)/2] + x[n/2]) / 2, x[n-1-at]
}

// The ranks are those of the tables of the sign test: for 8 values the 1st and the 8th, for 20 the 6th and the 15th, for 80 the 31st and
// the 50th.
func TestMedianInterval(t *testing.T) {
	for n, want := range map[int][3]float64{
		1: {1, 1, 1}, 5: {1, 3, 5}, 6: {1, 3.5, 6}, 8: {1, 4.5, 8}, 9: {2, 5, 8}, 20: {6, 10.5, 15}, 80: {31, 40.5, 50},
	} {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(n - i)
		}
		low, median, high := medianInterval(x)
		if got := [3]float64{low, median, high}; got != want {
			t.Errorf("%d values: got %v, want %v", n, got, want)
		}
	}
}
