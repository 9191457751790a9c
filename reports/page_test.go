package reports

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func TestHTMLNeedsNothingElseAndRunsNothing(t *testing.T) {
	run := golden(t)
	hostile := `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}</title></style>`
	run.Scenario.Name, run.Scenario.Description, run.WireSource = hostile, hostile, hostile
	run.Backends[0].Note, run.Wire[0].SNI, run.Wire[1].ALPN = hostile, &hostile, []string{hostile}
	run.Topology[1].Hops[0].Name, run.Run.Command = hostile+"->"+hostile, []string{hostile}
	run.Bench.Workloads[0].Name, run.Bench.Workloads[0].Arms[0].Path = hostile, hostile
	c := &run.Conformance.Results[2]
	c.Verdict, c.Title, c.Detail, c.Group, c.Evidence = result.CheckFail, hostile, hostile, hostile, []string{"javascript:alert(1)"}
	c.Clauses = []result.Clause{{Doc: hostile, URL: "javascript:alert(1)"}}
	out := render(t, "html", run)
	for _, bad := range []string{"<script", "<img", "<link rel=\"style", "@import", "url(", `href="javascript:`, "ZgotmplZ", "<iframe", "<object"} {
		clean := strings.ReplaceAll(out, "#ZgotmplZ", "") // that is what the refused addresses become
		if strings.Contains(clean, bad) {
			i := strings.Index(clean, bad)
			t.Errorf("the page has %q: %q", bad, clean[max(0, i-40):min(len(clean), i+40)])
		}
	}
	for _, tag := range []string{"title", "style", "main", "h1"} {
		if n := strings.Count(out, "</"+tag+">"); tag != "title" && n != 1 {
			t.Errorf("%d times </%s>", n, tag)
		}
	}
}

// The words of DESIGN.md section 6 and issue 3: what the page must show, and in which order.
func TestHTMLShowsTheVerdictFirst(t *testing.T) {
	out := render(t, "html", golden(t))
	at := 0
	for _, want := range []string{
		`<h1 id="verdict-h"`, "What to do next", `id="backends-h"`, `id="paths-h"`, "What each ClientHello carried", `id="checks-h"`,
		`id="bench-h"`, `class="plot" role="img"`, "median by phase", "Ratio to the baseline", `id="environment-h"`, "Repeat this run",
	} {
		i := strings.Index(out[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing or out of order", want)
		}
		at += i
	}
	for _, want := range []string{
		"Hops on TCP were read off the loopback interface", "&lt;script&gt;alert(1)", "evidence/DET-04-alb-https.pcapng", "PostgreSQL 17.6",
		"1.88× to 2.01×", `'topology.load_balancer.name=it&#39;\&#39;&#39;s here'`,
	} {
		if !strings.Contains(out, want) && !strings.Contains(out, strings.ReplaceAll(want, "'", "&#39;")) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if len(out) > 3<<20 {
		t.Errorf("the page has %d bytes", len(out))
	}
}

func TestNumbersKeepThreeDigitsAndTheirUnit(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0 ns", 850: "850 ns", 999: "999 ns", 1000: "1 µs", 94_213: "94.2 µs", 999_499: "999 µs", 999_500: "1.00 ms",
		1_412_000: "1.41 ms", 12_345_678: "12.3 ms", 999_600_000: "1.00 s", 2_310_000_000: "2.31 s", -91_000: "-91 µs",
	} {
		if got := duration(ns); got != want {
			t.Errorf("duration(%d) = %q, want %q", ns, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 2: "2", 2.006: "2.01", 19.96: "20.0", 123.4: "123", 0.0123: "0.012", 0.0000123: "1.23e-05"} {
		if got := significant(v); got != want {
			t.Errorf("significant(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestPercentileBelowItsSampleSizeIsNotShown(t *testing.T) {
	p := result.Phase{Count: 600, P99NS: 5, P999NS: 9}
	if got := percentileText(p, "p999"); got != "needs 400 more" {
		t.Errorf("p99.9 of 600 samples: %q", got)
	}
	if got := percentileText(p, "p99"); got != "5 ns" {
		t.Errorf("p99 of 600 samples: %q", got)
	}
}

func TestYAxisCoversTheData(t *testing.T) {
	for _, r := range [][2]float64{{96e3, 828e3}, {1, 1}, {5, 5e9}, {1e6, 31e6}, {1e6, 299e6}, {999, 1001}, {3e5, 1e7}} {
		ticks, bottom, top, log := yAxis(r[0], r[1])
		if bottom > r[0] || top < r[1] || len(ticks) < 2 || len(ticks) > 12 || ticks[0] != bottom || ticks[len(ticks)-1] < r[1] {
			t.Errorf("yAxis(%v): %v from %v to %v", r, ticks, bottom, top)
		}
		if log != (r[1]/r[0] > 30) || log && bottom <= 0 {
			t.Errorf("yAxis(%v): logarithmic %v from %v", r, log, bottom)
		}
	}
}

func TestShellCommandSurvivesAShell(t *testing.T) {
	if got, want := shellCommand([]string{"a", "", "it's", "x=$(y)", "--set", "k=v w"}), `a '' 'it'\''s' 'x=$(y)' --set 'k=v w'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestLoadBalancerThatPassesTheHelloOnIsDrawnSo(t *testing.T) {
	sni := "a.example.test"
	run := &result.Run{
		Topology: []result.Path{{Name: "nlb-tcp", Hops: []result.Hop{{Name: "client->nlb", TLS: true}, {Name: "nlb->router", TLS: true}}}},
		Wire:     []result.Wire{{Path: "nlb-tcp", Hop: "client->nlb", SNI: &sni, SHA256: "aa"}, {Path: "nlb-tcp", Hop: "nlb->router", SNI: &sni, SHA256: "aa"}},
	}
	v := pathViews(run)
	if got := v[0].Legs[0].To.Role; got != "passes TLS on unread" || v[0].Start.Role != "starts TLS" {
		t.Errorf("role %q, of the client %q", got, v[0].Start.Role)
	}
	run.Wire[1].SHA256, run.Wire[1].SNI = "bb", nil
	if v := pathViews(run)[0]; v.Legs[0].To.Role != "ends TLS here, starts a new one" || !strings.Contains(v.Start.Role, "upgrades") {
		t.Errorf("role %q, of the client %q", v.Legs[0].To.Role, v.Start.Role)
	}
}

func TestInnerHopIsDrawnThroughTheOthers(t *testing.T) {
	run := golden(t)
	want := pathViews(run)
	hops := &run.Topology[1].Hops
	*hops = append(*hops, result.Hop{Name: "inner", TLS: true})
	if diff := cmp.Diff(want, pathViews(run)); diff != "" {
		t.Errorf("listed as a hop it changes the picture:\n%s", diff)
	}
	if len(*hops) != 3 || want[1].Inner == nil || len(want[1].Legs) != 2 {
		t.Errorf("hops %v, picture %+v", *hops, want[1])
	}
}

// Seen in a real run of five windows: 1.31× with an interval of 0.98 to 1.84 stood on the page as if it were a finding.
func TestTileOfARatioCarriesItsIntervalAndDoubt(t *testing.T) {
	run := golden(t)
	c := &run.Bench.Workloads[0].Comparisons[0]
	c.Ratio, c.CI95, c.Verdict = 1.31, [2]float64{0.98, 1.84}, "inconclusive"
	got := tiles(run)[1]
	if got.Figure != "1.31×" || got.Unit != "0.98 to 1.84" || got.Class != "unsure" || !strings.Contains(got.Caption, "to tell") {
		t.Errorf("%+v", got)
	}
	run.Bench.Validity.OK = false
	for _, tile := range tiles(run) {
		if strings.Contains(tile.Figure, "×") {
			t.Errorf("an invalid measurement has a tile: %+v", tile)
		}
	}
}

// Seen in a real run: 63 checks were called 131, since most are run on two paths.
func TestResultsAreNotCalledChecks(t *testing.T) {
	result2 := func(second result.CheckVerdict) *result.Run {
		list := []result.CheckResult{{Check: "A-1", Path: "direct", Verdict: result.CheckPass}, {Check: "A-1", Path: "alb", Verdict: second}, {Check: "A-2", Path: "direct", Verdict: result.CheckTolerated}}
		return &result.Run{Conformance: &result.Conformance{Results: list}}
	}
	for _, c := range []struct {
		second                  result.CheckVerdict
		headline, tile, caption string
	}{
		{result.CheckPass, "All 2 checks conform, 3 results over their paths.", "2 of 2", "checks conform, 3 results over their paths"},
		{result.CheckFail, "1 of 2 checks failed (1 of 3 results over their paths).", "1 of 2", "checks conform, 2 of 3 results over their paths"},
		{result.CheckUnsupported, "1 of 2 checks conform (2 of 3 results over their paths) and none failed.", "1 of 2", "checks conform, 2 of 3 results over their paths"},
	} {
		run := result2(c.second)
		if got := headline(run); got != c.headline {
			t.Errorf("%s: headline %q, want %q", c.second, got, c.headline)
		}
		if got := tiles(run)[0]; got.Figure+" "+got.Unit != c.tile || got.Caption != c.caption {
			t.Errorf("%s: tile %+v", c.second, got)
		}
		for _, format := range []string{"text", "markdown", "html"} {
			if !strings.Contains(strings.ToLower(render(t, format, run)), "results of 2 checks over their paths") {
				t.Errorf("%s: %s does not say what its totals count", c.second, format)
			}
		}
	}
}

// Seen in a real run: the fourth workload had no tile, and nothing said so.
func TestNoWorkloadLosesItsTileInSilence(t *testing.T) {
	run := golden(t)
	w := run.Bench.Workloads[0]
	run.Conformance, run.Bench.Limits, run.Bench.Workloads = nil, nil, nil
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		w.Name = name
		run.Bench.Workloads = append(run.Bench.Workloads, w)
		got, n := tiles(run), len(run.Bench.Workloads)
		if n <= 6 && len(got) != n {
			t.Errorf("%d tiles for %d workloads", len(got), n)
		}
	}
	got := tiles(run)
	if last := got[len(got)-1]; len(got) != 7 || last.Figure != "+2" || last.Caption != "more below: g, h" {
		t.Errorf("%d tiles, the last %+v", len(got), last)
	}
}

// Seen in a real run: 1.26× with an interval of 1.07 to 1.48 was put down to noise.
func TestDoubtHasItsTrueReason(t *testing.T) {
	noise := "too few or too noisy windows to tell"
	for name, c := range map[string]struct {
		ci   [2]float64
		p    float64
		want string
	}{
		"number of comparisons":            {[2]float64{1.07, 1.48}, 0.0737, "not significant among 14 comparisons (p = 0.074)"},
		"faster, too":                      {[2]float64{0.75, 0.97}, 0.0737, "not significant among 14 comparisons (p = 0.074)"},
		"noise":                            {[2]float64{0.98, 1.84}, 0.4, noise},
		"too few pairs":                    {[2]float64{1.07, 1.48}, 0.01, noise},
		"a report from before the p-value": {[2]float64{1.07, 1.48}, 0, noise},
	} {
		if got := verdictWords(result.Comparison{CI95: c.ci, PAdjusted: c.p, Verdict: "inconclusive"}, 14); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	run := golden(t)
	c := &run.Bench.Workloads[0].Comparisons[0]
	c.CI95, c.PAdjusted, c.Verdict = [2]float64{1.07, 1.48}, 0.0737, "inconclusive"
	for format, want := range map[string]string{"text": "among 5 comparisons (p = 0.074)", "markdown": "among 5 comparisons (p = 0.074)", "html": "among the 5 comparisons of this workload"} {
		if !strings.Contains(render(t, format, run), want) {
			t.Errorf("%s lacks %q", format, want)
		}
	}
}
