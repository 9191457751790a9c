package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// A limit is a comparison of two sums:
//
//	errors == 0
//	direct.connect.p50 < 50ms
//	alb-https.steady_rtt.p99 / direct.steady_rtt.p99 < 1.5
//
//	alb-https.router.cpu_per_connect / direct.router.cpu_per_connect < 2
//
// Terms are ARM.PHASE.QUANTILE (a time), ARM.throughput and ARM.bytes_per_s (numbers, each a second), what a component of the path used
// for the arm (see limitCosts), errors and requests (totals of the run), numbers, and durations as Go writes them (a time); operators
// + - * / and parentheses; comparisons < <= > >= == !=. Times and plain numbers do not mix: "< 50" against a time is a fault and not
// 50 ns. A minus needs a space before it, for names may have hyphens.
//
// A side that is one percentile, or the ratio of the same one of two arms, is judged at the end of its 95 per cent interval that is the
// harder to pass with. Anything else is judged by its value.

// LimitError is a fault in a limit.
type LimitError struct {
	Expr    string
	Column  int // from 1, in bytes
	Message string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("limit %q, column %d: %s", e.Expr, e.Column, e.Message)
}

// CheckLimits reads the expressions and returns every fault in them, each a *LimitError, joined. Arms are looked up only when
// they are given.
func CheckLimits(exprs []string, arms ...string) error {
	_, err := parseLimits(exprs, arms)
	return err
}

// limit is one parsed expression.
type limit struct {
	text        string
	op          string
	left, right *term
}

// term is a node: a leaf (metric, total or literal) or left op right.
type term struct {
	column      int
	op          byte // + - * /, 'm' metric, 't' total, 'l' literal
	left, right *term
	value       float64 // literal
	arm, phase  string  // metric; a rate and a cost have no phase
	component   string  // of a cost, and what it is of the component's
	cost        func(result.Cost) float64
	name        string // quantile of a metric, name of a total or a rate
	time        int    // dimension: 1 a time, 0 a number, -1 a rate
}

func parseLimits(exprs, arms []string) ([]*limit, error) {
	var out []*limit
	var errs []error
	for _, text := range exprs {
		l, err := parseLimit(text, arms)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, l)
	}
	return out, errors.Join(errs...)
}

// maxDepth bounds parentheses, and so the stack.
const maxDepth = 100

type limitParser struct {
	text   string
	arms   []string
	pos    int    // behind the token
	token  string // "" at the end
	column int
	depth  int
}

func parseLimit(text string, arms []string) (l *limit, err error) {
	p := &limitParser{text: text, arms: arms}
	if err := p.advance(); err != nil {
		return nil, err
	}
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	op, column := p.token, p.column
	if !slices.Contains([]string{"<", "<=", ">", ">=", "==", "!="}, op) {
		return nil, p.fail("want a comparison (< <= > >= == !=), found %s", p.found())
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	right, err := p.sum()
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		return nil, p.fail("want the end, found %s", p.found())
	}
	if left.time != right.time {
		return nil, &LimitError{text, column, "compares " + dimension(left.time) + " with " + dimension(right.time) + hint(left.time, right.time)}
	}
	if !left.measured() && !right.measured() {
		return nil, &LimitError{text, 1, "names nothing that is measured"}
	}
	return &limit{text: text, op: op, left: left, right: right}, nil
}

func (p *limitParser) fail(format string, args ...any) error {
	return &LimitError{Expr: p.text, Column: p.column, Message: fmt.Sprintf(format, args...)}
}

func (p *limitParser) found() string {
	if p.token == "" {
		return "the end"
	}
	return strconv.Quote(p.token)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isWord(c byte) bool {
	return isDigit(c) || c == '_' || c == '.' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// advance reads the next token: an operator, a number with or without a unit, or a name.
func (p *limitParser) advance() error {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
	p.column = p.pos + 1
	rest := p.text[p.pos:]
	if rest == "" {
		p.token = ""
		return nil
	}
	n := 0
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "µ"):
		p.token = "µ"
		return p.fail("a unit without a number")
	case isWord(c):
		for n < len(rest) {
			if isWord(rest[n]) || strings.HasPrefix(rest[n:], "µ") {
				n++
				if rest[n-1] >= 0x80 {
					n++ // µ has two bytes
				}
				continue
			}
			// A hyphen belongs to a name that goes on behind it, never to a number.
			if rest[n] == '-' && !isDigit(c) && n+1 < len(rest) && isWord(rest[n+1]) {
				n++
				continue
			}
			break
		}
	case strings.IndexByte("<>=!", c) >= 0:
		n = 1
		if len(rest) > 1 && rest[1] == '=' {
			n = 2
		}
		if n == 1 && (c == '=' || c == '!') {
			p.token = rest[:1]
			return p.fail("%q is no operator; did you mean %q", rest[:1], rest[:1]+"=")
		}
	case strings.IndexByte("+-*/()", c) >= 0:
		n = 1
	default:
		p.token = rest[:1]
		return p.fail("unexpected character %q", []rune(rest)[0])
	}
	p.token = rest[:n]
	p.pos += n
	return nil
}

func (p *limitParser) sum() (*term, error) { return p.binary("+-", p.product) }

func (p *limitParser) product() (*term, error) { return p.binary("*/", p.factor) }

func (p *limitParser) binary(ops string, operand func() (*term, error)) (*term, error) {
	left, err := operand()
	for err == nil && len(p.token) == 1 && strings.Contains(ops, p.token) {
		op, column := p.token[0], p.column
		if err = p.advance(); err != nil {
			break
		}
		var right *term
		if right, err = operand(); err != nil {
			break
		}
		t := &term{column: column, op: op, left: left, right: right}
		switch op {
		case '*':
			t.time = left.time + right.time
		case '/':
			t.time = left.time - right.time
		default:
			if t.time = left.time; left.time != right.time {
				return nil, &LimitError{p.text, column, fmt.Sprintf("%c between %s and %s", op, dimension(left.time), dimension(right.time)) +
					hint(left.time, right.time)}
			}
		}
		left = t
	}
	return left, err
}

func (p *limitParser) factor() (*term, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("nested too deeply")
	}
	defer func() { p.depth-- }()
	t := &term{column: p.column, op: 'l'}
	switch c := firstByte(p.token); {
	case c == '(':
		if err := p.advance(); err != nil {
			return nil, err
		}
		inner, err := p.sum()
		if err != nil {
			return nil, err
		}
		if p.token != ")" {
			return nil, p.fail("want ), found %s", p.found())
		}
		return inner, p.advance()
	case c == '-':
		if err := p.advance(); err != nil {
			return nil, err
		}
		inner, err := p.factor()
		if err != nil {
			return nil, err
		}
		return &term{column: t.column, op: '-', left: &term{op: 'l', time: inner.time}, right: inner, time: inner.time}, nil
	case isDigit(c) || c == '.':
		if v, err := strconv.ParseFloat(p.token, 64); err == nil {
			t.value = v
		} else if d, err := time.ParseDuration(p.token); err == nil {
			t.value, t.time = float64(d), 1
		} else {
			return nil, p.fail("%q is neither a number nor a duration such as 5ms", p.token)
		}
	case p.token == "errors" || p.token == "requests":
		t.op, t.name = 't', p.token
	case c != 0 && isWord(c):
		if err := p.metric(t); err != nil {
			return nil, err
		}
	default:
		return nil, p.fail("want a value, found %s", p.found())
	}
	return t, p.advance()
}

// limitQuantiles are what a limit may name of a phase.
var limitQuantiles = []string{"p50", "p90", "p99", "p999", "p9999", "max"}

// limitRates are what a limit may name of an arm: right answers a second of the measured windows, and bytes of payload a second.
var limitRates = []string{"throughput", "bytes_per_s"}

// limitCosts are what a limit may name of an arm's component, as ARM.COMPONENT.NAME: processor time (a time) for each new tunnel, request
// and GiB of payload, and what one more open tunnel holds (numbers). They are known of components that are processes of their own.
var limitCosts = []struct {
	name string
	time int
	of   func(result.Cost) float64
}{
	{"cpu_per_connect", 1, func(c result.Cost) float64 { return c.CPUPerConnectNS }},
	{"cpu_per_request", 1, func(c result.Cost) float64 { return c.CPUPerRequestNS }},
	{"cpu_per_gib", 1, func(c result.Cost) float64 { return c.CPUPerGiBNS }},
	{"bytes_per_tunnel", 0, func(c result.Cost) float64 { return c.BytesPerTunnel }},
	{"descriptors_per_tunnel", 0, func(c result.Cost) float64 { return c.DescriptorsPerTunnel }},
}

func (p *limitParser) metric(t *term) error {
	parts := strings.Split(p.token, ".")
	switch {
	case len(parts) == 2 && slices.Contains(limitRates, parts[1]):
		t.op, t.arm, t.name = 'm', parts[0], parts[1]
		return p.knowsArm(t.arm)
	case len(parts) != 3:
		return p.fail("%q is none of ARM.PHASE.QUANTILE, ARM.throughput, ARM.bytes_per_s, ARM.COMPONENT.COST, errors, requests", p.token)
	}
	for _, c := range limitCosts {
		if c.name == parts[2] {
			t.op, t.arm, t.component, t.cost, t.time = 'm', parts[0], parts[1], c.of, c.time
			return p.knowsArm(t.arm)
		}
	}
	t.op, t.arm, t.phase, t.name, t.time = 'm', parts[0], parts[1], parts[2], 1
	if err := p.knowsArm(t.arm); err != nil {
		return err
	}
	switch {
	case !slices.Contains(result.Phases, t.phase):
		return p.fail("no phase %q; there are %s", t.phase, strings.Join(result.Phases, ", "))
	case !slices.Contains(limitQuantiles, t.name):
		more := ""
		if strings.Contains(t.name, "-") {
			more = " (a minus needs a space before it)"
		}
		return p.fail("no quantile %q; there are %s%s", t.name, strings.Join(limitQuantiles, ", "), more)
	}
	return nil
}

func (p *limitParser) knowsArm(arm string) error {
	switch {
	case arm == "":
		return p.fail("%q has no arm before its first dot", p.token)
	case p.arms != nil && !slices.Contains(p.arms, arm):
		return p.fail("no arm %q; there are %s", arm, strings.Join(p.arms, ", "))
	}
	return nil
}

func firstByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

func (t *term) measured() bool {
	switch t.op {
	case 'm', 't':
		return true
	case 'l':
		return false
	}
	return t.left.measured() || t.right.measured()
}

func dimension(n int) string {
	switch n {
	case 0:
		return "a plain number"
	case 1:
		return "a time"
	}
	return fmt.Sprintf("a time to the power of %d", n)
}

func hint(a, b int) string {
	if a+b == 1 && a*b == 0 {
		return ": a time needs a unit, such as 50ms"
	}
	return ""
}
