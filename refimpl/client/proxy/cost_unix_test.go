//go:build unix

package proxy

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// BenchmarkRoundTrips says what the local port itself costs. A program asks an echo behind our router for 64 bytes, over the same hops and the
// same TLS in both ways:
//
//	proxy     program ─TCP─▶ local port ─TLS─▶ router ─▶ echo
//	forward   program with the dialer in it ─TLS over─▶ a plain TCP forward ─▶ router ─▶ echo
//
// so that the difference is what stands in the middle. The forwards are the loop that everybody writes (io.Copy both ways, which splices on
// Linux), the same without splice(2), and splice.Join. One iteration is a turn of every way; the figures are medians over the turns, the
// ratios are of turns of one iteration, with the 95 per cent interval of their median:
//
//	go test -run '^$' -bench RoundTrips -benchtime 300x ./refimpl/client/proxy
func BenchmarkRoundTrips(b *testing.B) {
	for _, clients := range []int{1, 4} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkRoundTrips(b, clients) })
	}
}

const (
	costMessage = 64
	costTurn    = 20 * time.Millisecond // short, so that what else the machine does hits all ways alike
)

func benchmarkRoundTrips(b *testing.B, clients int) {
	dialer := routedEcho(b)
	local, _ := serve(b, &Server{Kind: SSH, Dialer: dialer, Say: func(line string) { b.Error(line) }})
	behind := func(pass func(a, c net.Conn)) func() (net.Conn, error) {
		through := *dialer
		through.Address = forward(b, dialer.Address, pass)
		return func() (net.Conn, error) { return through.DialContext(b.Context(), "tcp", "") }
	}
	ways := []*way{
		{name: "proxy", dial: func() (net.Conn, error) { return net.Dial("tcp", local) }},
		{name: "forward", dial: behind(copyBoth)},
		{name: "forward-unspliced", dial: behind(copyUnspliced)},
		{name: "forward-join", dial: behind(func(a, c net.Conn) { splice.Join(b.Context(), a, c, splice.Options{}) })},
		{name: "none", dial: func() (net.Conn, error) { return dialer.DialContext(b.Context(), "tcp", "") }},
	}
	for _, w := range ways {
		w.open(b, clients)
	}
	for pair := 0; b.Loop(); pair++ {
		for i := range ways {
			ways[(i+pair)%len(ways)].turn(b)
		}
	}
	for _, w := range ways {
		b.ReportMetric(median(w.rates), w.name+"/s")
		b.ReportMetric(median(w.cpu), w.name+"-cpu-µs")
		if w == ways[0] {
			continue
		}
		rate, cpu := newRatio(ways[0].rates, w.rates), newRatio(ways[0].cpu, w.cpu)
		b.ReportMetric(rate.median, "×"+w.name)
		b.Logf("proxy against %s: round trips a second %v, processor time for each %v", w.name, rate, cpu)
	}
}

// ratio is the median of ratios pair by pair, and its 95 per cent interval by the sign test.
type ratio struct{ median, low, high float64 }

func newRatio(of, to []float64) ratio {
	var all []float64
	for i := range of {
		if to[i] > 0 {
			all = append(all, of[i]/to[i])
		}
	}
	if len(all) == 0 {
		return ratio{}
	}
	slices.Sort(all)
	n := float64(len(all))
	out := max(0, int(n/2-0.98*math.Sqrt(n))) // from either end
	return ratio{median(all), all[out], all[len(all)-1-out]}
}

func (r ratio) String() string { return fmt.Sprintf("%.3f× (%.3f to %.3f)", r.median, r.low, r.high) }

// way is one way to the echo, and what its turns gave: round trips a second, and processor time of all that is in this process for each.
type way struct {
	name       string
	dial       func() (net.Conn, error)
	conns      []net.Conn
	rates, cpu []float64
}

func (w *way) open(b *testing.B, clients int) {
	for range clients {
		conn, err := w.dial()
		if err != nil {
			b.Fatalf("%s: %v", w.name, err)
		}
		b.Cleanup(func() { conn.Close() })
		w.conns = append(w.conns, conn)
	}
}

func (w *way) turn(b *testing.B) {
	counts := make([]int, len(w.conns))
	begin, used := time.Now(), processorTime(b)
	var clients sync.WaitGroup
	for i, conn := range w.conns {
		clients.Go(func() {
			sent, got := make([]byte, costMessage), make([]byte, costMessage)
			for time.Since(begin) < costTurn {
				sent[0]++
				if _, err := conn.Write(sent); err != nil {
					b.Errorf("%s: write: %v", w.name, err)
					return
				}
				if _, err := io.ReadFull(conn, got); err != nil || got[0] != sent[0] {
					b.Errorf("%s: read: %v", w.name, err)
					return
				}
				counts[i]++
			}
		})
	}
	clients.Wait()
	took, spent := time.Since(begin), processorTime(b)-used
	total := 0
	for _, n := range counts {
		total += n
	}
	w.rates = append(w.rates, float64(total)/took.Seconds())
	w.cpu = append(w.cpu, float64(spent.Nanoseconds())/1000/float64(max(1, total)))
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// routedEcho is an echo behind a router that ends TLS, and the dialer for it.
func routedEcho(b *testing.B) *client.Dialer {
	echo := listenTCP(b, func(conn net.Conn) { _, _ = io.Copy(struct{ io.Writer }{conn}, conn) })
	ca, err := certs.NewCA("router")
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: serviceName, DNS: []string{serviceName}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		b.Fatal(err)
	}
	cert, key, err := certs.WritePEM(b.TempDir(), "router", leaf)
	if err != nil {
		b.Fatal(err)
	}
	s, err := router.New(router.Config{
		Listen:       "127.0.0.1:0",
		Certificates: []router.Certificate{{Cert: cert, Key: key}},
		Routes: []router.Route{{
			Name: "echo", SNI: []string{serviceName}, ALPN: []string{"echo"}, Mode: router.ModeTerminate, Backend: router.Backend{Address: echo},
		}},
	}, router.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	if err := s.Listen(ctx); err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return &client.Dialer{
		Address: s.Addr().String(), ServerName: serviceName, ALPN: []string{"echo"}, InnerRoots: ca.Pool(), OuterRoots: ca.Pool(), Upgrade: client.Direct,
	}
}

// forward is a port whose connections are passed on to address.
func forward(b *testing.B, address string, pass func(a, c net.Conn)) string {
	return listenTCP(b, func(conn net.Conn) {
		onward, err := net.Dial("tcp", address)
		if err != nil {
			b.Error(err)
			return
		}
		defer onward.Close()
		pass(conn, onward)
	})
}

func copyBoth(a, c net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(c, a); _ = c.(*net.TCPConn).CloseWrite() })
	both.Go(func() { _, _ = io.Copy(a, c); _ = a.(*net.TCPConn).CloseWrite() })
	both.Wait()
}

// copyUnspliced hides from io.Copy what the connections can do besides.
func copyUnspliced(a, c net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{a})
		_ = c.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(struct{ io.Writer }{a}, struct{ io.Reader }{c})
		_ = a.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

// listenTCP serves each connection until the end of the benchmark.
func listenTCP(b *testing.B, handle func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	b.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().String()
}
