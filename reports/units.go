package reports

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// duration shows nanoseconds with three significant digits and the unit that fits: 850 ns, 94.2 µs, 1.41 ms, 2.31 s.
func duration(ns int64) string {
	v, unit := float64(ns), "ns"
	switch a := math.Abs(v); {
	// The borders are where rounding to three digits would carry into the next unit.
	case a >= 999.5e6:
		v, unit = v/1e9, "s"
	case a >= 999.5e3:
		v, unit = v/1e6, "ms"
	case a >= 999.5:
		v, unit = v/1e3, "µs"
	}
	return significant(v) + " " + unit
}

// significant shows three significant digits without an exponent.
func significant(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "n/a"
	case v == math.Trunc(v) && a < 1e6:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a >= 0.0005:
		return strconv.FormatFloat(v, 'f', 3, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// ratio shows a factor with two decimals, as people compare them side by side.
func ratio(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "n/a"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + "×"
}

// grouped shows a count with thin separators: 12,345.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// size shows bytes in binary units.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return significant(float64(n)/(1<<30)) + " GiB"
	case n >= 1<<20:
		return significant(float64(n)/(1<<20)) + " MiB"
	default:
		return grouped(n) + " B"
	}
}

// took shows the length of a run.
func took(run *result.Run) string {
	d := run.Run.Finished.Sub(run.Run.Started)
	if run.Run.Finished.IsZero() || run.Run.Started.IsZero() || d < 0 {
		return "unknown"
	}
	if d < time.Minute {
		return duration(d.Nanoseconds())
	}
	return d.Round(time.Second).String()
}

// percentile is one value of a phase, and how many more samples it would need to mean something, by the phase's own account. A
// report of before there was one is judged by the least there can be: a percentile q of fewer than 1/(1-q) samples is only another
// name for the maximum.
func percentile(p result.Phase, name string) (ns, missing int64) {
	var need int64
	switch name {
	case "p50":
		ns, need = p.P50NS, 2
	case "p90":
		ns, need = p.P90NS, 10
	case "p99":
		ns, need = p.P99NS, 100
	case "p999":
		ns, need = p.P999NS, 1000
	case "p9999":
		ns, need = p.P9999NS, 10_000
	default:
		return p.MaxNS, max(0, 1-p.Count)
	}
	if len(p.CI95NS) > 0 || len(p.Needs) > 0 {
		return ns, p.Needs[name]
	}
	return ns, max(0, need-p.Count)
}

// percentileText is percentile for a person.
func percentileText(p result.Phase, name string) string {
	ns, missing := percentile(p, name)
	if missing > 0 {
		return "needs " + grouped(missing) + " more"
	}
	return duration(ns)
}

// shellCommand joins arguments so that a POSIX shell splits them the same way.
func shellCommand(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	return strings.Join(quoted, " ")
}

func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// oneLine folds white space and control characters, and shortens to at most limit runes (0: no limit).
func oneLine(s string, limit int) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if r := []rune(s); limit > 0 && len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}
