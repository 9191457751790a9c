//go:build unix

package proxy

import (
	"context"
	"fmt"
	"io"
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
// Linux), the same without splice(2), and splice.Join. One iteration is a pair of turns of every way; the figures are medians over the pairs,
// and the ratios are of the same pair:
//
//	go test -run '^$' -bench RoundTrips -benchtime 40x ./refimpl/client/proxy
func BenchmarkRoundTrips(b *testing.B) {
	for _, clients := range []int{1, 4} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkRoundTrips(b, clients) })
	}
}

const (
	costMessage = 64
	costTurn    = 100 * time.Millisecond
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
		for i := range ways { // each is first as often as last
			w := ways[i]
			if pair%2 == 1 {
				w = ways[len(ways)-1-i]
			}
			w.turn(b)
		}
	}
	for _, w := range ways {
		b.ReportMetric(median(w.rates), w.name+"/s")
		b.ReportMetric(median(w.cpu), w.name+"-cpu-µs")
		if w != ways[0] {
			ratios := make([]float64, len(w.rates))
			for i := range ratios {
				ratios[i] = ways[0].rates[i] / w.rates[i]
			}
			slices.Sort(ratios)
			b.ReportMetric(median(ratios), "×"+w.name)
			b.Logf("proxy against %s: %.3f of its round trips a second, %.3f to %.3f over %d pairs", w.name, median(ratios), ratios[0], ratios[len(ratios)-1], len(ratios))
		}
	}
}

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
