package reports

import (
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// What a component used is in the text and in the summary; one that runs inside is named with the reason why nothing is said.
func TestCostsAreInTextAndMarkdown(t *testing.T) {
	run := golden(t)
	run.Bench.Costs = []result.Cost{
		{
			Component: "router", Product: "tlsroute-bench router", Workload: "echo", Path: "direct", Process: true, CPUNS: 126e6, SystemNS: 50e6,
			CPUPerRequestNS: 74e3, PSSBytes: 27 << 20, Descriptors: 416, BytesPerTunnel: 6144, DescriptorsPerTunnel: 2, SplicedBytes: 3 << 30, CopiedBytes: 1 << 10,
		},
		{Component: "haproxy", Workload: "bulk", Path: "haproxy", Process: true, CPUNS: 1e9, CPUPerGiBNS: 145e6, PSSBytes: 1 << 20, Descriptors: 9},
		{Component: "alb", Workload: "echo", Path: "alb-https"},
	}
	for _, format := range []string{"text", "markdown"} {
		got := render(t, format, run)
		for _, want := range []string{
			costsTitle, "tlsroute-bench router", "126 ms", "50 ms", "74 µs a request", "27 MiB, 6,144 B a tunnel", "416, 2 a tunnel", "3 GiB", "145 ms a GiB",
			"Of alb nothing is said here",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing", format, want)
			}
		}
	}
	if got := render(t, "text", run); strings.Count(got, "haproxy") == 0 || !strings.Contains(strings.Split(got, "145 ms a GiB")[1], "–") {
		t.Error("what haproxy spliced and copied is not known, and the table does not say so")
	}
	run.Bench.Costs = nil
	if got := render(t, "text", run); strings.Contains(got, costsTitle) {
		t.Error("a table of costs without any")
	}
}
