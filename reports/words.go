package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// phaseNames are what people read for result.Phases.
var phaseNames = map[string]string{
	result.PhaseDNS: "name lookup", result.PhaseClose: "close", result.PhaseTCP: "TCP", result.PhaseOuterTLS: "outer TLS", result.PhaseUpgrade: "upgrade", result.PhaseInnerTLS: "inner TLS",
	result.PhaseFirstByte: "first byte", result.PhaseConnect: "whole connect", result.PhaseSteady: "steady round trip",
	result.PhaseService: "service time", result.PhaseLag: "schedule lag",
}

func phaseName(p string) string {
	if name, ok := phaseNames[p]; ok {
		return name
	}
	return strings.ReplaceAll(p, "_", " ")
}

// metricName turns "steady_rtt.p50" into "steady round trip p50".
func metricName(metric string) string {
	phase, stat, _ := strings.Cut(metric, ".")
	return strings.TrimSpace(phaseName(phase) + " " + stat)
}

// groupNames are what the groups of the catalogue check.
var groupNames = map[string]string{
	"DET": "Detection: what is this connection?", "UPG": "HTTP upgrade", "TLS": "TLS and routing by name and ALPN",
	"MTL": "Client certificates", "TUN": "Tunnels: bytes, half-close, reset", "KAL": "Keep-alive", "WS": "WebSocket",
	"ALB": "Load balancer: AWS ALB, from outside", "SRC": "Source address", "DB": "Database preambles", "SEC": "Security", "RES": "Limits and resources",
}

// checkName is "DET-02 ch-split-tcp [path]", the same in every format, so that a person can search for it.
func checkName(c result.CheckResult) string {
	name := strings.TrimSpace(c.Check + " " + c.Slug)
	if c.Path != "" {
		name += " [" + c.Path + "]"
	}
	return name
}

// conforms says whether a verdict counts as conforming.
func conforms(v result.CheckVerdict) bool { return v == result.CheckPass || v == result.CheckTolerated }

// unexpected says whether a verdict fails a run.
func unexpected(v result.CheckVerdict) bool { return v == result.CheckFail || v == result.CheckXPass }

// weight orders verdicts as people want to see them; one we do not know comes first.
func weight(v result.CheckVerdict) int { return slices.Index(result.CheckVerdicts, v) }

// checks returns the results, the weightiest verdict first, otherwise in the order of the run.
func checks(run *result.Run) []result.CheckResult {
	if run.Conformance == nil {
		return nil
	}
	list := slices.Clone(run.Conformance.Results)
	slices.SortStableFunc(list, func(a, b result.CheckResult) int { return weight(a.Verdict) - weight(b.Verdict) })
	return list
}

// with returns the checks of a verdict among these.
func with(list []result.CheckResult, verdicts ...result.CheckVerdict) []result.CheckResult {
	var out []result.CheckResult
	for _, c := range list {
		if slices.Contains(verdicts, c.Verdict) {
			out = append(out, c)
		}
	}
	return out
}

// distinct counts the checks among results: a check has one result for each target and path it is run on.
func distinct(list []result.CheckResult) int {
	ids := map[string]bool{}
	for _, c := range list {
		ids[c.Check] = true
	}
	return len(ids)
}

// conforming counts the checks all of whose results conform.
func conforming(list []result.CheckResult) int {
	not := slices.DeleteFunc(slices.Clone(list), func(c result.CheckResult) bool { return conforms(c.Verdict) })
	return distinct(list) - distinct(not)
}

// overPaths are the words that tell results from checks.
const overPaths = "results over their paths"

// resultsOf is "2 checks", or "5 results of 2 checks" where some have several.
func resultsOf(list []result.CheckResult) string {
	n := distinct(list)
	if n == len(list) {
		return plural(n, "check")
	}
	return fmt.Sprintf("%s of %s", plural(len(list), "result"), plural(n, "check"))
}

// total is a verdict and how many results came to it, counted from the results and not believed from Totals.
type total struct {
	Verdict result.CheckVerdict
	N       int
}

func totals(run *result.Run) []total {
	n := map[result.CheckVerdict]int{}
	var order []result.CheckVerdict
	for _, c := range checks(run) {
		if n[c.Verdict] == 0 {
			order = append(order, c.Verdict)
		}
		n[c.Verdict]++
	}
	list := make([]total, len(order))
	for i, v := range order {
		list[i] = total{v, n[v]}
	}
	return list
}

func totalsText(run *result.Run) string {
	var parts []string
	for _, t := range totals(run) {
		parts = append(parts, fmt.Sprintf("%d %s", t.N, t.Verdict))
	}
	text := strings.Join(parts, ", ")
	if list := checks(run); distinct(list) < len(list) {
		text += fmt.Sprintf(" (results of %s over their paths)", plural(distinct(list), "check"))
	}
	return text
}

func missedLimits(run *result.Run) []result.Limit {
	var out []result.Limit
	if run.Bench != nil {
		for _, l := range run.Bench.Limits {
			if !l.OK {
				out = append(out, l)
			}
		}
	}
	return out
}

func invalid(run *result.Run) bool { return run.Bench != nil && !run.Bench.Validity.OK }

// plural is "1 check", "2 checks".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// headline is the verdict in one sentence.
func headline(run *result.Run) string {
	list := checks(run)
	n := distinct(list)
	of := func(some []result.CheckResult) string { // nothing to add where each check has one result
		if n == len(list) {
			return ""
		}
		return fmt.Sprintf(" (%d of %d %s)", len(some), len(list), overPaths)
	}
	bad, ok := with(list, result.CheckFail, result.CheckXPass), with(list, result.CheckPass, result.CheckTolerated)
	open := distinct(with(list, result.CheckInconclusive))
	missed := len(missedLimits(run))
	var parts []string
	switch {
	case len(list) == 0:
	case len(bad) > 0:
		parts = append(parts, fmt.Sprintf("%d of %s failed%s", distinct(bad), plural(n, "check"), of(bad)))
	case len(ok) == len(list) && n == len(list):
		parts = append(parts, fmt.Sprintf("all %s conform", plural(n, "check")))
	case len(ok) == len(list):
		parts = append(parts, fmt.Sprintf("all %s conform, %d %s", plural(n, "check"), len(list), overPaths))
	default:
		parts = append(parts, fmt.Sprintf("%d of %s conform%s and none failed", conforming(list), plural(n, "check"), of(ok)))
	}
	if flaky := distinct(with(list, result.CheckFlaky)); run.FailOnFlake && flaky > 0 {
		parts = append(parts, fmt.Sprintf("%d flaky", flaky))
	}
	if open > 0 {
		parts = append(parts, fmt.Sprintf("%d could not be decided", open))
	}
	if run.Matrix != nil {
		parts = append(parts, strings.TrimSuffix(matrixSentence(run.Matrix), "."))
	}
	if run.Bench != nil {
		switch {
		case invalid(run):
			parts = append(parts, "the measurement is not valid")
		case missed > 0:
			parts = append(parts, fmt.Sprintf("%s missed", plural(missed, "limit")))
		case len(run.Bench.Limits) > 0:
			parts = append(parts, "every limit is met")
		case len(run.Bench.Workloads) > 0:
			parts = append(parts, plural(len(run.Bench.Workloads), "workload")+" measured, without a limit")
		}
	}
	if len(parts) == 0 {
		return "Nothing was executed."
	}
	return upperFirst(strings.Join(parts, "; ") + ".")
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// step is something to do next, and the command that does it, if one does.
type step struct{ Text, Command string }

func (s step) String() string {
	if s.Command == "" {
		return s.Text
	}
	return strings.TrimSuffix(s.Text, ".") + ": " + s.Command
}

// strangers are the options of a command line that say who is judged.
func strangers(command []string) (options string) {
	for i, arg := range command {
		if arg == "--target" && i+1 < len(command) {
			options += " --target " + shellQuote(command[i+1])
		} else if strings.HasPrefix(arg, "--target=") {
			options += " " + shellQuote(arg)
		}
	}
	return options
}

// nextSteps says what to do now.
func nextSteps(run *result.Run) []step {
	file := run.Scenario.File
	if file == "" {
		file = "SCENARIO"
	}
	again := "tlsroute-bench run " + shellQuote(file) + strangers(run.Run.Command)
	list := checks(run)
	var steps []step
	if run.Partial {
		steps = append(steps, step{"The run was interrupted: what is here is true as far as it goes. Repeat it.", again})
	}
	if bad := with(list, result.CheckFail, result.CheckXPass); len(bad) > 0 {
		text := "Run the failed checks alone, with all evidence."
		if len(bad[0].Evidence) > 0 {
			text = fmt.Sprintf("Look at the evidence of %s, then run the failed checks alone.", bad[0].Check)
		}
		steps = append(steps, step{text, again + " --no-bench --evidence all" + only(bad)},
			step{fmt.Sprintf("Read what %s requires and why.", bad[0].Check), "tlsroute-bench checks show " + shellQuote(bad[0].Check)})
	}
	if open := with(list, result.CheckInconclusive); len(open) > 0 {
		steps = append(steps, step{plural(distinct(open), "check") + " proved nothing either way. Repeat.", again + " --no-bench" + only(open)})
	}
	for _, l := range missedLimits(run) {
		where := ""
		if l.Workload != "" {
			where = " in workload " + l.Workload
		}
		steps = append(steps, step{Text: fmt.Sprintf("The limit %q was missed%s: the errors and the phases below say where.", l.Expr, where)})
	}
	if invalid(run) && !run.Partial { // an interrupt is no fault of the machine
		steps = append(steps, step{"Repeat the measurement on a machine with less other work: an invalid one neither passes nor fails.", again + " --no-conformance"})
	}
	if run.Verdict == result.Pass && len(steps) == 0 {
		steps = append(steps, step{Text: "Nothing has to be done. Keep report.json: every other report can be made from it again."})
	}
	return steps
}

// only is the --only flags that choose these checks, at most six.
func only(list []result.CheckResult) string {
	var ids []string
	for _, c := range list {
		if !slices.Contains(ids, c.Check) {
			ids = append(ids, c.Check)
		}
	}
	var text strings.Builder
	for _, id := range ids[:min(len(ids), 6)] {
		text.WriteString(" --only " + shellQuote(id))
	}
	return text.String()
}

// sniText shows a name that may be absent; an empty name is not the same as none.
func sniText(sni *string) string {
	switch {
	case sni == nil:
		return "none"
	case *sni == "":
		return `""`
	default:
		return *sni
	}
}

func alpnText(alpn []string) string {
	if len(alpn) == 0 {
		return "none"
	}
	return strings.Join(alpn, ", ")
}

// certNote says how a client certificate came into a table of ClientHellos; empty when a capture showed none.
func certNote(run *result.Run) string {
	for _, w := range run.Wire {
		if w.ClientCert && w.Source == "capture" {
			return "A client certificate is no part of the ClientHello, and TLS 1.3 encrypts it: in a capture it was seen by decrypting the handshake with the run's own key log, or else reported by the side that ended it."
		}
	}
	return ""
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
