package reports

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "benchstat", Write: writeBenchstat}) }

// benchstatHead says what the lines mean. Anything in the format that is no result, setting or unit is passed over by its readers.
const benchstatHead = `# Go benchmark text, for benchstat (golang.org/x/perf/cmd/benchstat):
#   benchstat -col /path THIS-FILE           the paths of one run side by side
#   benchstat OLD-FILE THIS-FILE             two runs
# A line is one window of one path: requests in it, then percentiles of the latency in nanoseconds. Windows are the samples. Phases
# without a series of windows have one line over all of them, which benchstat can show and not compare.
# benchstat takes samples for unpaired, while windows of one index are a pair: for paths of one run, report.json has the better test.
`

// benchstatUnits hold for readers that know units: lower is better, and nothing is assumed of the distribution over windows.
const benchstatUnits = `Unit p50-ns better=lower assume=nothing
Unit p99-ns better=lower assume=nothing
Unit max-ns better=lower assume=nothing
Unit req/s better=higher assume=nothing
`

// writeBenchstat writes windows as results of Go benchmarks (the format is proposal golang.org/design/14313-benchmark-format). Settings
// are only such that two runs to be compared have in common, for benchstat makes a table for each value of a setting.
func writeBenchstat(w io.Writer, run *result.Run) error {
	var b bytes.Buffer
	b.WriteString(benchstatHead)
	fmt.Fprintf(&b, "# run %s, seed %d, tlsroute-bench %s %s, verdict %s\n", oneLine(run.Run.ID, 80), run.Run.Seed, oneLine(run.Run.Version, 80), oneLine(run.Run.Commit, 80), oneLine(string(run.Verdict), 40))
	if invalid(run) {
		fmt.Fprintf(&b, "# the measurement is not valid: %s\n", oneLine(strings.Join(run.Bench.Validity.Reasons, "; "), 0))
	}
	for _, set := range [][2]string{{"goos", run.Run.Host.OS}, {"goarch", run.Run.Host.Arch}, {"cpu", run.Run.Host.CPU}, {"scenario", run.Scenario.Name}} {
		if v := oneLine(set[1], 0); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", set[0], v)
		}
	}
	b.WriteString(benchstatUnits)
	if run.Bench != nil {
		names := workloadNames(run.Bench.Workloads)
		for i, wl := range run.Bench.Workloads {
			for _, a := range wl.Arms {
				benchstatArm(&b, names[i], a, max(run.Run.Host.CPUs, 1))
			}
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write Go benchmark text: %w", err)
	}
	return nil
}

func benchstatArm(b *bytes.Buffer, name workloadName, a result.Arm, cpus int) {
	line := func(phase string, n int64) {
		fmt.Fprintf(b, "Benchmark%s", upperFirst(benchmarkWord(name.Name)))
		if name.Load != "" {
			fmt.Fprintf(b, "/load=%s", benchmarkWord(name.Load))
		}
		fmt.Fprintf(b, "/path=%s/phase=%s-%d %d", benchmarkWord(a.Path), benchmarkWord(phase), cpus, n)
	}
	seen := map[string]bool{}
	for _, s := range a.Series {
		if s.Excluded || s.Warmup || s.Requests <= 0 {
			continue
		}
		seen[s.Phase] = true
		line(s.Phase, s.Requests)
		fmt.Fprintf(b, " %d p50-ns %d p99-ns %d max-ns\n", s.P50NS, s.P99NS, s.MaxNS)
	}
	for _, phase := range result.Phases {
		p := a.Phases[phase]
		if seen[phase] || p.Count <= 0 {
			continue
		}
		line(phase, p.Count)
		fmt.Fprintf(b, " %d p50-ns", p.P50NS)
		if _, missing := percentile(p, "p99"); missing == 0 {
			fmt.Fprintf(b, " %d p99-ns", p.P99NS)
		}
		fmt.Fprintf(b, " %d max-ns\n", p.MaxNS)
	}
	if a.ThroughputPerS > 0 && a.Requests > 0 {
		line("all", a.Requests)
		fmt.Fprintf(b, " %v req/s\n", a.ThroughputPerS)
	}
}

// benchmarkWord is text as a part of a benchmark's name: no space ends it, no slash or equals sign begins another part. What looks
// like the number of processors at its end does not matter, since the line has one of its own.
func benchmarkWord(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.%", r) {
			return r
		}
		return '_'
	}, oneLine(s, 120))
	if s == "" {
		return "_"
	}
	return s
}

// workloadName tells the workloads of a run apart.
type workloadName struct{ Name, Load string }

// Text is the name for a person.
func (n workloadName) Text() string {
	if n.Load == "" {
		return n.Name
	}
	return n.Name + "-at-" + strings.TrimSuffix(n.Load, "%")
}

// workloadNames are the names of workloads in their order, each once: one that is measured at several levels of load has them beside
// its name, and what is still the same is counted.
func workloadNames(list []result.Workload) []workloadName {
	out := make([]workloadName, len(list))
	for i, w := range list {
		out[i].Name = w.Name
		if w.Load != nil && w.Load.Fraction > 0 {
			out[i].Load = fmt.Sprintf("%.0f%%", 100*w.Load.Fraction)
		}
		base := out[i].Name
		for n := 2; slices.Contains(out[:i], out[i]); n++ {
			out[i].Name = fmt.Sprintf("%s-%d", base, n)
		}
	}
	return out
}
