package reports

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { register(Format{Name: "openmetrics", Write: writeOpenMetrics}) }

// writeOpenMetrics writes the run as OpenMetrics text 1.0: gauges, since a run is over and counts nothing any more, and a summary of
// the latencies. No sample has a time stamp: it is for a push gateway or a text file collector, which have their own.
func writeOpenMetrics(w io.Writer, run *result.Run) error {
	m := &metrics{byName: map[string]*metricFamily{}}
	m.add("tlsroute_bench_run_info", "", "What was run.", 1, "run", run.Run.ID, "scenario", run.Scenario.Name, "seed", fmt.Sprint(run.Run.Seed),
		"version", run.Run.Version, "commit", run.Run.Commit, "host", run.Run.Host.Name)
	for _, v := range []result.Verdict{result.Pass, result.Fail, result.Inconclusive} {
		m.add("tlsroute_bench_verdict", "", "1 for the verdict of the run.", boolNumber(run.Verdict == v), "verdict", string(v))
	}
	if t := run.Run.Started; !t.IsZero() {
		m.add("tlsroute_bench_started_seconds", "seconds", "When the run began, since 1970.", float64(t.UnixMilli())/1e3)
	}
	if d := run.Run.Finished.Sub(run.Run.Started); d > 0 && !run.Run.Started.IsZero() {
		m.add("tlsroute_bench_duration_seconds", "seconds", "How long the run took.", d.Seconds())
	}
	for _, t := range totals(run) {
		m.add("tlsroute_bench_check_results", "", "Results of checks, each on one path, by verdict.", float64(t.N), "verdict", string(t.Verdict))
	}
	if b := run.Bench; b != nil {
		m.add("tlsroute_bench_measurement_valid", "", "1 when every validity gate was passed; else no figure may be relied on.", boolNumber(b.Validity.OK))
		names := workloadNames(b.Workloads)
		for i, wl := range b.Workloads {
			for _, a := range wl.Arms {
				m.arm(names[i], a)
			}
			for _, c := range wl.Comparisons {
				m.comparison(names[i], c)
			}
		}
		for _, l := range b.Limits {
			labels := []string{"expr", l.Expr, "workload", l.Workload}
			m.add("tlsroute_bench_limit_met", "", "1 when the limit was met.", boolNumber(l.OK), labels...)
			m.add("tlsroute_bench_limit_value", "", "What the limit came to, in its own unit.", l.Value, labels...)
		}
		for _, c := range b.Costs {
			m.cost(c)
		}
	}
	var out bytes.Buffer
	m.write(&out)
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write OpenMetrics text: %w", err)
	}
	return nil
}

func (m *metrics) arm(name workloadName, a result.Arm) {
	labels := []string{"workload", name.Name, "load", name.Load, "path", a.Path}
	m.add("tlsroute_bench_requests", "", "Arrivals of the measured windows.", float64(a.Requests), labels...)
	m.add("tlsroute_bench_errors", "", "Arrivals that came to nothing.", float64(a.Errors), labels...)
	m.add("tlsroute_bench_throughput_per_second", "", "Right answers a second.", a.ThroughputPerS, labels...)
	for _, phase := range result.Phases {
		p := a.Phases[phase]
		if p.Count <= 0 {
			continue
		}
		of := append(slices.Clone(labels), "phase", phase)
		const help = "Latency of a phase over all measured windows; a quantile that lacks samples is left out."
		for _, q := range []struct{ stat, quantile string }{{"p50", "0.5"}, {"p90", "0.9"}, {"p99", "0.99"}, {"p999", "0.999"}} {
			ns, missing := percentile(p, q.stat)
			if missing > 0 {
				continue
			}
			with := append(slices.Clone(of), "quantile", q.quantile)
			m.summary("tlsroute_bench_latency_seconds", help, "", inSeconds(ns), with...)
			if ci, ok := p.CI95NS[q.stat]; ok {
				const help = "Bounds of the 95 per cent interval of the quantile."
				m.add("tlsroute_bench_latency_bound_seconds", "seconds", help, inSeconds(ci[0]), append(slices.Clone(with), "bound", "lower")...)
				m.add("tlsroute_bench_latency_bound_seconds", "seconds", help, inSeconds(ci[1]), append(slices.Clone(with), "bound", "upper")...)
			}
		}
		m.summary("tlsroute_bench_latency_seconds", help, "_count", float64(p.Count), of...)
	}
}

func (m *metrics) comparison(name workloadName, c result.Comparison) {
	labels := []string{"workload", name.Name, "load", name.Load, "path", c.Candidate, "baseline", c.Baseline, "metric", c.Metric}
	m.add("tlsroute_bench_ratio", "", "A latency of the path over that of the baseline path.", c.Ratio, labels...)
	const help = "Bounds of the 95 per cent interval of the ratio."
	m.add("tlsroute_bench_ratio_bound", "", help, c.CI95[0], append(slices.Clone(labels), "bound", "lower")...)
	m.add("tlsroute_bench_ratio_bound", "", help, c.CI95[1], append(slices.Clone(labels), "bound", "upper")...)
}

func (m *metrics) cost(c result.Cost) {
	if !c.Process {
		return // nothing is known of it alone
	}
	labels := []string{"component", c.Component, "workload", c.Workload, "path", c.Path}
	m.add("tlsroute_bench_component_cpu_seconds", "seconds", "Processor time of a component while the arm was measured.", inSeconds(c.CPUNS), labels...)
	for _, f := range []struct {
		name, unit, help string
		value            float64
	}{
		{"tlsroute_bench_component_cpu_per_gibibyte_seconds", "seconds", "Processor time of a component a GiB of payload.", c.CPUPerGiBNS / 1e9},
		{"tlsroute_bench_component_cpu_per_connect_seconds", "seconds", "Processor time of a component a new tunnel.", c.CPUPerConnectNS / 1e9},
		{"tlsroute_bench_component_cpu_per_request_seconds", "seconds", "Processor time of a component a request.", c.CPUPerRequestNS / 1e9},
		{"tlsroute_bench_component_pss_bytes", "bytes", "Memory of a component at the end of the arm, shared pages by their share.", float64(c.PSSBytes)},
		{"tlsroute_bench_component_descriptors", "", "Open descriptors of a component at the end of the arm.", float64(c.Descriptors)},
		{"tlsroute_bench_component_tunnel_bytes", "bytes", "Memory of a component for one more open tunnel.", c.BytesPerTunnel},
	} {
		if f.value > 0 {
			m.add(f.name, f.unit, f.help, f.value, labels...)
		}
	}
}

func inSeconds(ns int64) float64 { return float64(ns) / 1e9 }

func boolNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metrics collects samples by family, since the samples of one must stand together.
type metrics struct {
	order  []*metricFamily
	byName map[string]*metricFamily
}

type metricFamily struct {
	name, kind, unit, help string
	lines                  []string
	seen                   map[string]bool // names with labels: a sample must not be there twice
}

func (m *metrics) add(name, unit, help string, value float64, labels ...string) {
	m.sample(name, "gauge", unit, help, "", value, labels)
}

func (m *metrics) summary(name, help, suffix string, value float64, labels ...string) {
	m.sample(name, "summary", "seconds", help, suffix, value, labels)
}

func (m *metrics) sample(name, kind, unit, help, suffix string, value float64, labels []string) {
	f := m.byName[name]
	if f == nil {
		f = &metricFamily{name: name, kind: kind, unit: unit, help: help, seen: map[string]bool{}}
		m.byName[name], m.order = f, append(m.order, f)
	}
	var b strings.Builder
	b.WriteString(name + suffix)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		b.WriteString(sep + labels[i] + `="` + labelEscaper.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 0 {
		b.WriteString("}")
	}
	if f.seen[b.String()] {
		return
	}
	f.seen[b.String()] = true
	f.lines = append(f.lines, b.String()+" "+metricNumber(value))
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\n`)

func metricNumber(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func (m *metrics) write(b *bytes.Buffer) {
	for _, f := range m.order {
		fmt.Fprintf(b, "# TYPE %s %s\n", f.name, f.kind)
		if f.unit != "" {
			fmt.Fprintf(b, "# UNIT %s %s\n", f.name, f.unit)
		}
		fmt.Fprintf(b, "# HELP %s %s\n", f.name, f.help)
		for _, l := range f.lines {
			b.WriteString(l + "\n")
		}
	}
	b.WriteString("# EOF\n")
}
