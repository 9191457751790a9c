package reports

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// fixture makes up measurements that look like real ones, always the same.
type fixture struct {
	rnd     *rand.Rand
	windows int   // measured windows of each arm
	warmup  int   // before them
	window  int64 // ns
}

func newFixture(windows int) *fixture {
	return &fixture{rand.New(rand.NewPCG(7, 11)), windows, 3, 5e8} //nolint:gosec // made-up data, always the same
}

// latency is a sample around a median with a heavy tail.
func (f *fixture) latency(median float64) float64 {
	v := median * math.Exp(0.28*f.rnd.NormFloat64())
	if f.rnd.Float64() < 0.02 {
		v *= 2 + 6*f.rnd.Float64()
	}
	return v
}

// phase is the distribution of n samples, with the intervals of order statistics where there are any.
func (f *fixture) phase(median float64, n int, curve bool) result.Phase {
	samples := make([]int64, n)
	for i := range samples {
		samples[i] = int64(f.latency(median))
	}
	slices.Sort(samples)
	at := func(rank float64) int64 { return samples[int(min(max(rank, 0), float64(n-1)))] }
	interval := func(q float64) (int64, int64, bool) {
		half := 1.96 * math.Sqrt(float64(n)*q*(1-q))
		return at(float64(n)*q - half), at(float64(n)*q + half), float64(n)*q+half < float64(n-1)
	}
	p := result.Phase{
		Count: int64(n), P50NS: at(float64(n) * 0.5), P90NS: at(float64(n) * 0.9), P99NS: at(float64(n) * 0.99), P999NS: at(float64(n) * 0.999),
		MaxNS: samples[n-1], CI95NS: map[string][2]int64{}, Needs: map[string]int64{},
	}
	for name, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "p9999": 0.9999} {
		if lo, hi, ok := interval(q); ok {
			p.CI95NS[name] = [2]int64{lo, hi}
		} else {
			p.Needs[name] = int64(4/(1-q)) - int64(n) + 100_000
		}
	}
	if curve {
		for q := 0.0; q < 1-1/float64(n); q += (1 - q) * 0.2 {
			pt := result.Point{Quantile: math.Round(q*1e6) / 1e6, NS: at(float64(n) * q)}
			if lo, hi, ok := interval(q); ok {
				pt.LoNS, pt.HiNS = lo, hi
			}
			p.Curve = append(p.Curve, pt)
		}
	}
	return p
}

// arm is a path with all phases, its windows and their map. i of n arms take turns.
func (f *fixture) arm(path string, median float64, samples int, start int64, i, n int) result.Arm {
	a := result.Arm{Path: path, Requests: int64(samples), ThroughputPerS: 400, Phases: map[string]result.Phase{
		result.PhaseSteady: f.phase(median, samples, true), result.PhaseService: f.phase(median*0.9, samples, false),
		result.PhaseConnect: f.phase(median*14, samples/10, true), result.PhaseTCP: f.phase(50e3, samples/10, false),
		result.PhaseInnerTLS: f.phase(median*10, samples/10, false), result.PhaseFirstByte: f.phase(median*1.1, samples/10, false),
		result.PhaseClose: f.phase(60e3, samples/10, false), result.PhaseLag: f.phase(20e3, samples, false),
	}}
	if path != "direct" {
		a.Upgrade = "websocket"
		a.Phases[result.PhaseDNS], a.Phases[result.PhaseOuterTLS], a.Phases[result.PhaseUpgrade] = f.phase(210e3, samples/10, false), f.phase(1.2e6, samples/10, false), f.phase(median*8, samples/10, false)
	}
	a.TLS = map[string]string{"version": "TLS 1.3", "curve": "X25519MLKEM768", "resumed": "no"}
	var bounds []int64
	for k := range 36 {
		bounds = append(bounds, int64(math.Round(32e3*math.Exp2(float64(k)/4))))
	}
	a.Heat = &result.Heat{BoundsNS: bounds}
	for k := range f.warmup + f.windows {
		w := result.WindowSample{Pair: k - f.warmup, AtNS: start + int64(k*n+i)*(f.window+1e8), Phase: result.PhaseSteady, Requests: 200}
		m := median
		if w.Warmup = k < f.warmup; w.Warmup {
			w.Pair, m = -1, median*(1.8-0.25*float64(k))
		}
		w.Excluded = k == f.warmup+f.windows/3 || k == f.warmup+f.windows/3+1
		if k == f.warmup+f.windows/2 && path != "direct" {
			m, w.Errors = 3*median, 6
			a.Errors += 6
			w.DrainNS = f.window / 4 // beyond the gap to the next window, so that it begins late
		}
		samples, counts := make([]int64, w.Requests), make([]int, len(bounds))
		for j := range samples {
			samples[j] = int64(f.latency(m))
			b, _ := slices.BinarySearch(bounds, samples[j])
			counts[min(b, len(bounds)-1)]++
		}
		slices.Sort(samples)
		w.P50NS, w.P99NS, w.MaxNS = samples[100], samples[198], samples[199]
		row := [][2]int{}
		for b, c := range counts {
			if c > 0 {
				row = append(row, [2]int{b, c})
			}
		}
		a.Series, a.Heat.Rows = append(a.Series, w), append(a.Heat.Rows, row)
	}
	return a
}

// workload has a label as the bench makes them: the name, and what tells it from others of that name. It has the arms of these paths, each slower than the one before it, and what compares them.
func (f *fixture) workload(label string, paths []string, samples int, start int64) result.Workload {
	name, _, _ := strings.Cut(label, "-at-")
	w := result.Workload{
		Name: name, Backend: "witness", Windows: f.windows, WindowNS: f.window, RatePerS: 400, ConnectRatePerS: 40, Arrival: "poisson", Log: label + ".hlog",
		Tunnels: 64, Active: 48, WarmupWindows: f.warmup, WarmupSteady: true, StoppedBy: "precision",
	}
	for i, path := range paths {
		w.Arms = append(w.Arms, f.arm(path, 90e3*(1+0.45*float64(i)), samples, start, i, len(paths)))
		if i == 0 {
			continue
		}
		for _, metric := range []string{"steady_rtt.p50", "steady_rtt.p99", "connect.p50"} {
			r := 1 + 0.45*float64(i)
			c := result.Comparison{Baseline: paths[0], Candidate: path, Metric: metric, Ratio: r, CI95: [2]float64{r * 0.97, r * 1.04}, DeltaNS: int64(40e3 * float64(i)), Pairs: f.windows, PAdjusted: 0.001, Verdict: "slower"}
			if metric == "steady_rtt.p99" {
				c.Ratio, c.CI95, c.PAdjusted, c.Verdict = 1.02, [2]float64{0.91, 1.15}, 0.6, "inconclusive"
			}
			w.Comparisons = append(w.Comparisons, c)
		}
	}
	return w
}

// full is a run of which every section of the page has something to show.
func full(f *fixture) *result.Run {
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	r := &result.Run{
		Schema: result.Schema,
		Run: result.Info{
			ID: "20261120-090000-3", Started: at, Finished: at.Add(95 * time.Second), Seed: 3, Version: "0.2.0", Commit: "0123456789abcdef", Host: result.Host{Name: "bench-1", OS: "linux", Arch: "amd64", Kernel: "6.1.0", CPU: "AMD EPYC 7R13", CPUs: 2, Memory: 8 << 30, Go: "go1.26"},
			Command: []string{"tlsroute-bench", "run", "scenarios/peers.yaml", "--seed", "3"},
		},
		Scenario: result.Scenario{Name: "peers", File: "scenarios/peers.yaml", SHA256: strings.Repeat("cd", 32), Description: "Our router among its peers: what does each cost?"},
		Backends: []result.Backend{{Name: "witness", Kind: "witness", Driver: "embedded", Product: "tlsroute-bench witness", Version: "0.2.0"}},
		Topology: []result.Path{
			{Name: "direct", Hops: []result.Hop{{Name: "client->router", Address: "127.0.0.1:1", TLS: true}}},
			{Name: "alb-https", Hops: []result.Hop{{Name: "client->alb", Address: "127.0.0.1:2", TLS: true}, {Name: "alb->router", Address: "127.0.0.1:1", TLS: true}}},
		},
		Artifacts: []string{"echo-at-30.hlog", "handshake.hlog"},
	}
	b := &result.Bench{Validity: result.Validity{OK: true, Reasons: []string{}, Gates: []result.Gate{
		{Name: "dropped", Workload: "echo-at-50", Path: "alb-https", Value: 0, Limit: 0, Unit: "count", OK: true, Detail: "0 of 4000 arrivals were dropped by the generator"},
		{Name: "achieved_rate", Workload: "echo-at-50", Path: "alb-https", Value: 0.998, Limit: 0.99, Unit: "ratio", OK: true, Detail: "99.8 % of the planned load went off in time, 95 % is needed"},
		{Name: "sched_lag.p99", Workload: "echo-at-50", Path: "alb-https", Value: 164e3, Limit: 100e3, Unit: "ns", Advisory: true, Detail: "the generator was up to 164µs late in 99 % of the arrivals; 100µs is quiet"},
		{Name: "steal", Value: 0.002, Limit: 0.01, Unit: "ratio", OK: true},
	}}}
	start := int64(2e9)
	step := int64(f.warmup+f.windows+2) * 2 * (f.window + 1e8)
	for i, level := range []int{30, 50} {
		w := f.workload(fmt.Sprintf("echo-at-%d", level), []string{"direct", "alb-https"}, 12_000*(i+1), start)
		w.Load = &result.Load{Model: "open", Fraction: float64(level) / 100, CapacityPerS: map[string]float64{"direct": 3120, "alb-https": 1840}, SlowestArm: "alb-https"}
		b.Workloads = append(b.Workloads, w)
		start += step
	}
	w := f.workload("handshake", []string{"direct", "haproxy", "haproxy-tuned", "nginx", "sslh"}, 4000, start)
	for i, peer := range []string{"", "HAProxy 2.6.12, default", "HAProxy 2.6.12, splice-request and splice-response", "nginx 1.22.1", "sslh 1.20"} {
		w.Arms[i].Peer = peer
	}
	w.Load = &result.Load{Model: "open", Steps: []result.RateStep{{FromPerS: 100, ToPerS: 400, NS: 4e8}, {FromPerS: 400, ToPerS: 400, NS: 1e8}}}
	w.StoppedBy, w.WarmupSteady, w.Shape = "budget", false, map[string]string{"handshake": "full, of a name by weight", "close_every": "8 requests"}
	w.Arms[4].Censored, w.Arms[4].Late, w.Arms[1].Bytes, w.Arms[1].BytesPerS = 2, 5, 3<<30, 210<<20
	b.Workloads = append(b.Workloads, w)
	for i, path := range []string{"direct", "alb-https"} {
		b.Costs = append(b.Costs, result.Cost{
			Component: "router", Product: "tlsroute-bench router", Workload: "echo-at-50", Path: path, Process: true, CPUNS: int64(1.2e9 * (1 + 0.3*float64(i))), SystemNS: 7e8,
			CPUPerRequestNS: 74e3 * (1 + 0.3*float64(i)), PSSBytes: 27 << 20, Descriptors: 416, BytesPerTunnel: 6144, DescriptorsPerTunnel: 2, SplicedBytes: 3 << 30, CopiedBytes: 1 << 16,
		})
	}
	b.Costs = append(
		b.Costs, result.Cost{Component: "alb", Product: "aws-alb simulator", Workload: "echo-at-50", Path: "alb-https", Process: true, CPUNS: 2.4e9, SystemNS: 1.3e9, CPUPerRequestNS: 150e3, PSSBytes: 41 << 20, Descriptors: 800},
		result.Cost{Component: "haproxy", Product: "HAProxy 2.6.12", Workload: "handshake", Path: "haproxy", Process: true, CPUNS: 8e8, SystemNS: 2e8, CPUPerConnectNS: 410e3, CPUPerGiBNS: 145e6},
		result.Cost{Component: "router", Workload: "handshake", Path: "direct"},
	)
	b.Against = &result.Against{Run: "20261119-090000-3", Started: "2026-11-19T09:00:00Z", Commit: "fedcba9876543210", SameHost: true, Threshold: 0.1, Changes: []result.Change{
		{Workload: "echo-at-50", Path: "direct", Metric: "steady_rtt.p50", Ratio: 0.88, CI95: [2]float64{0.84, 0.93}, Verdict: "faster"},
		{Workload: "echo-at-50", Path: "alb-https", Metric: "steady_rtt.p50", Ratio: 1.18, CI95: [2]float64{1.12, 1.25}, PAdjusted: 0.002, Verdict: "slower", Regression: true},
		{Workload: "echo-at-50", Path: "alb-https", Metric: "ratio steady_rtt.p50", Ratio: 1.01, CI95: [2]float64{0.96, 1.07}, Verdict: "equivalent"},
		{Workload: "echo-at-50", Path: "alb-https", Metric: "steady_rtt.p99", Ratio: 1.1, CI95: [2]float64{0.8, 1.5}, Verdict: "inconclusive"},
	}}
	for i := range 2 {
		b.Shards = append(b.Shards, result.Shard{Index: i, Host: "bench-1", PID: 4100 + i, Source: fmt.Sprintf("127.0.1.%d", i+1), PlanSHA256: strings.Repeat("0f", 32), BinarySHA256: strings.Repeat("a7", 32), OffsetNS: int64(i) * 41_000, Excluded: i})
	}
	b.Limits = []result.Limit{{Expr: "alb-https.steady_rtt.p50 / direct.steady_rtt.p50 < 2", Workload: "echo-at-50", Value: 1.51, OK: true, Detail: "upper bound of the 95 % interval"}}
	r.Bench = b
	middle := b.Workloads[0].Arms[1].Series[f.warmup+f.windows/2].AtNS
	r.Faults = []result.Fault{
		{AtNS: middle, Injected: true, InjectedNS: middle, Hop: "client->alb", Paths: []string{"alb-https"}, Direction: "down", Kind: "latency", Detail: "delay 20ms, for 1s", Seed: 11},
		{AtNS: middle + 2e8, Injected: true, InjectedNS: middle + 2e8, Hop: "alb->router", Paths: []string{"alb-https"}, Kind: "reset", Seed: 12, Struck: 2, Strikes: []result.Strike{{AtNS: middle + 21e7, Path: "alb-https"}, {AtNS: middle + 16e8, Path: "alb-https"}}},
		{AtNS: 900e9, Hop: "client->alb", Paths: []string{"alb-https"}, Kind: "rotate", Seed: 13},
	}
	r.Conformance = &result.Conformance{Results: []result.CheckResult{{
		Check: "DET-02", Slug: "ch-split-tcp", Title: "A ClientHello in two segments is routed the same", Group: "DET", Level: "MUST", Origin: "rfc", Target: "refimpl", Role: "router", Path: "direct",
		Verdict: result.CheckPass, Outcome: "routed", DurationMS: 1.5,
	}}}
	r.Judge()
	return r
}

// tenMinutes is a run as long as they come: 1200 windows of half a second and more, in four workloads on two paths and one on eight, and
// as many checks as there are on three paths.
func tenMinutes() *result.Run {
	f := newFixture(150)
	r := full(f)
	r.Bench.Workloads = nil
	for i, name := range []string{"echo-at-30", "echo-at-50", "echo-at-70", "postgres"} {
		r.Bench.Workloads = append(r.Bench.Workloads, f.workload(name, []string{"direct", "alb-https"}, 60_000, int64(i)*180e9))
	}
	f.windows = 40
	r.Bench.Workloads = append(r.Bench.Workloads, f.workload("peers", []string{"direct", "alb-http", "alb-https", "haproxy", "haproxy-tuned", "nginx", "sslh", "stunnel"}, 20_000, 720e9))
	for i := range r.Bench.Workloads[4].Arms {
		r.Bench.Workloads[4].Arms[i].Peer = "a product, tuned as its manual says"
	}
	r.Run.Finished = r.Run.Started.Add(10 * time.Minute)
	groups := slices.Sorted(maps.Keys(groupNames))
	r.Conformance = &result.Conformance{}
	for i := range 350 {
		for j, path := range []string{"direct", "alb-http", "alb-https"} {
			c := result.CheckResult{
				Check: fmt.Sprintf("%s-%02d", groups[i%len(groups)], i), Slug: "a-slug-of-usual-length", Title: "A ClientHello in two segments, split at any offset, is routed the same", Group: groups[i%len(groups)],
				Level: "MUST", Origin: "rfc", Target: "refimpl router", Role: "router", Path: path, Verdict: result.CheckPass, Outcome: "routed", Expected: []string{"routed"}, DurationMS: 21.6,
				Clauses: []result.Clause{{Doc: "RFC 9846", Section: "5.1", URL: "https://www.rfc-editor.org/rfc/rfc9846#section-5.1"}},
				Why:     "Clients behind small MTUs and middleboxes split the hello; a router that reads one segment sends them to the wrong service.",
			}
			if i%7 == 0 && j > 0 {
				c.Verdict, c.Detail, c.Evidence = result.CheckFail, "expected routed, got nothing for two seconds", []string{fmt.Sprintf("evidence/%s-%s.pcapng", c.Check, path)}
			}
			r.Conformance.Results = append(r.Conformance.Results, c)
		}
	}
	r.Judge()
	return r
}
