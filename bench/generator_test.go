package bench

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// farEnd makes this very test program the echo server behind TLS, so that its processor time is not the generator's.
const farEnd = "TLSROUTE_BENCH_FAR_END"

func serveFarEnd() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MinVersion: tls.VersionTLS13})
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }() // ends with its parent
	s := &target{ln: ln, open: map[net.Conn]bool{}}
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go s.serve(c)
	}
}

// far starts it and returns how to dial it.
func far(b *testing.B) Dial {
	b.Helper()
	address := startFar(b)
	// With a name, for without one the dialer makes a copy of the configuration for each.
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "far.example.test"} //nolint:gosec // it is made up a moment ago
	dial := Pollable(nil)
	return func(ctx context.Context, _ func(string, time.Duration)) (net.Conn, error) {
		raw, err := dial(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return conn, nil
	}
}

func startFar(b *testing.B) (address string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), farEnd+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

const (
	generatorTunnels = 16
	generatorTime    = 3 * time.Second
)

// generatorSessions are the tunnels of a bare loop.
func generatorSessions(b *testing.B, dial Dial) []*echoSession {
	b.Helper()
	list := make([]*echoSession, generatorTunnels)
	for i := range list {
		conn, err := dial(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		s, err := (echoWorkload{size: echoSize}).Open(b.Context(), conn, Access{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		list[i] = s.(*echoSession)
	}
	return list
}

// bareOpen is an open loop over the same tunnels, at the same instants, that records nothing: the processor time of a round trip. It is
// nil where there is no loop but the workers.
var bareOpen func(b *testing.B, dial Dial, rate float64) (each time.Duration)

// bare is a loop over the same tunnels that records nothing: the processor time of a round trip, and how many there are a second.
func bare(b *testing.B, dial Dial) (each time.Duration, rate float64) {
	b.Helper()
	list := generatorSessions(b, dial)
	var wg sync.WaitGroup
	trips := make([]int, len(list))
	began, used := time.Now(), ownTime(b)
	for i, echo := range list {
		wg.Go(func() {
			for time.Since(began) < generatorTime {
				for range 50 { // the clock is not read each time
					if _, err := echo.conn.Write(echo.out()); err != nil {
						b.Error(err)
						return
					}
					if _, err := io.ReadFull(echo.conn, echo.in()); err != nil {
						b.Error(err)
						return
					}
					trips[i]++
				}
			}
		})
	}
	wg.Wait()
	used = ownTime(b) - used
	sum := 0
	for _, n := range trips {
		sum += n
	}
	return used / time.Duration(sum), float64(sum) / time.Since(began).Seconds()
}

// openShares are of the bare loop's rate, in per cent. A generator on the machine of its target cannot keep all of it: the open loop
// takes more for each request the fewer there are at once, and so does what it is sent to.
var openShares = []int{33, 50, 67}

// BenchmarkGenerator is what the generator itself costs: processor time of a 64-byte round trip, closed and open loop, over that of a
// bare loop on as many tunnels of TLS 1.3 in the same minute; and how late it is at shares of the bare loop's rate. A bare loop is always at
// work: at half of its rate a request also has to wake who is to answer, which bare-open/bare shows.
//
//	go test -run '^$' -bench 'Generator$' -benchtime 3x ./bench
func BenchmarkGenerator(b *testing.B) {
	dial := far(b)
	sums := map[string]float64{}
	for range b.N {
		each, rate := bare(b, dial)
		sums["bare-ns/trip"] += float64(each)
		closed, _ := generated(b, dial, ModeClosed, 0)
		sums["closed/bare"] += closed / float64(each)
		for _, share := range openShares {
			at := rate * float64(share) / 100
			open, lag := generated(b, dial, ModeOpen, at)
			name := func(s string) string { return fmt.Sprintf("%s-at-%d%%", s, share) }
			sums[name("open/bare")] += open / float64(each)
			sums[name("lag-p99-µs")] += float64(lag) / 1e3
			if bareOpen != nil && share == 50 {
				sums[name("bare-open/bare")] += float64(bareOpen(b, dial, at)) / float64(each)
				sums[name("trips/s")] += at
			}
		}
	}
	for name, sum := range sums {
		b.ReportMetric(sum/float64(b.N), name)
	}
	b.ReportMetric(0, "ns/op")
}

// generated is the processor time of a round trip by the generator, in nanoseconds, and its p99 of lag.
func generated(b *testing.B, dial Dial, mode string, rate float64) (each float64, lag int64) {
	b.Helper()
	const guard = 50 * time.Millisecond
	used := ownTime(b)
	out, err := Run(b.Context(), Plan{
		Window: generatorTime / 5, Guard: guard, Pairs: 5, Seed: 1, Warmup: &Warmup{}, maxLag: time.Minute,
		Workloads: []WorkloadPlan{{Name: "echo", Mode: mode, Rate: rate, Tunnels: generatorTunnels, Arms: []Arm{{Path: "direct", Dial: dial}}}},
	}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	arm := out.Workloads[0].Arms[0]
	if arm.Errors > 0 {
		b.Fatalf("%s: %d errors: %v", mode, arm.Errors, arm.ErrorSamples)
	}
	// The guards' requests cost too, and are not counted: they are the same share of time.
	trips := float64(arm.Requests) * float64(generatorTime/5+guard) / float64(generatorTime/5)
	return float64(ownTime(b)-used) / trips, arm.Phases[result.PhaseLag].P99NS
}

// BenchmarkGeneratorMemory is what an idle echo tunnel of TLS 1.3 keeps alive in the generator: heap and stacks, after collection.
//
//	go test -run '^$' -bench GeneratorMemory -benchtime 1x ./bench
func BenchmarkGeneratorMemory(b *testing.B) {
	const tunnels = 4000
	dial := far(b)
	held := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	for range b.N {
		var before, after float64
		windows := 0
		plan := Plan{
			Window: 200 * time.Millisecond, Guard: 10 * time.Millisecond, Pairs: 5, Seed: 1, Warmup: &Warmup{}, maxLag: time.Minute,
			Workloads: []WorkloadPlan{{Name: "echo", Rate: 500, Tunnels: tunnels, Arms: []Arm{{Path: "direct", Dial: dial}}}},
		}
		before = held()
		out, err := Run(b.Context(), plan, Options{Progress: func(string, int, int) {
			windows++
			after = held() // between windows, with every tunnel open
		}})
		if err != nil {
			b.Fatal(err)
		}
		if arm := out.Workloads[0].Arms[0]; arm.Errors > 0 || windows == 0 {
			b.Fatalf("%d windows, %d errors: %v", windows, arm.Errors, arm.ErrorSamples)
		}
		b.ReportMetric((after-before)/tunnels, "B/tunnel")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFrozenTarget is the p99 that is reported of a target that freezes for 500 ms every 5 s, at 1,000 requests a second: of the time
// from the planned instant, which has to show the freeze, and of that from when a request was sent.
//
//	go test -run '^$' -bench FrozenTarget -benchtime 1x ./bench
func BenchmarkFrozenTarget(b *testing.B) {
	for range b.N {
		began := time.Now()
		srv := newTarget(b, func(int64, []byte) bool {
			if at := time.Since(began) % (5 * time.Second); at < 500*time.Millisecond {
				time.Sleep(500*time.Millisecond - at)
			}
			return true
		})
		out, err := Run(b.Context(), Plan{
			Window: time.Second, Guard: 10 * time.Millisecond, Pairs: 10, Seed: 1, Warmup: &Warmup{}, maxLag: time.Minute,
			Workloads: []WorkloadPlan{{Name: "echo", Rate: 1000, Tunnels: 4, Arms: []Arm{{Path: "direct", Dial: srv.dial}}}},
		}, Options{})
		if err != nil {
			b.Fatal(err)
		}
		phases := out.Workloads[0].Arms[0].Phases
		b.ReportMetric(float64(phases[result.PhaseSteady].P99NS)/1e6, "response-p99-ms")
		b.ReportMetric(float64(phases[result.PhaseService].P99NS)/1e6, "service-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}
