package reports

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() {
	register(Format{Name: "badge", File: "badge.json", Write: writeBadge})
	register(Format{Name: "badge-svg", File: "badge.svg", Write: writeBadgeSVG})
}

// badge is the endpoint schema of shields.io/badges/endpoint-badge.
type badge struct {
	SchemaVersion int    `json:"schemaVersion"`
	Label         string `json:"label"`
	Message       string `json:"message"`
	Color         string `json:"color"`
	IsError       bool   `json:"isError,omitempty"`
}

// badgeColors by verdict, as shields.io names them and as they are drawn here; white on each has a contrast of 4.5 at least.
var badgeColors = map[result.Verdict][2]string{
	result.Pass: {"brightgreen", "#2b7a0b"}, result.Fail: {"red", "#b3261e"}, result.Inconclusive: {"lightgrey", "#5f6368"},
}

func badgeOf(run *result.Run) badge {
	b := badge{SchemaVersion: 1, Label: "TLS routing", Color: "lightgrey", Message: string(run.Verdict), IsError: run.Verdict == result.Fail}
	if c, ok := badgeColors[run.Verdict]; ok {
		b.Color = c[0]
	}
	list := checks(run)
	judged := 0
	for _, c := range list {
		if conforms(c.Verdict) || unexpected(c.Verdict) || c.Verdict == result.CheckInconclusive || c.Verdict == result.CheckFlaky || c.Verdict == result.CheckXFail {
			judged++
		}
	}
	switch bad := with(list, result.CheckFail, result.CheckXPass); {
	case judged == 0:
	case len(bad) > 0:
		b.Message = fmt.Sprintf("%d of %s failed", distinct(bad), plural(distinct(list), "check"))
	case run.Verdict == result.Pass:
		b.Message = plural(conforming(list), "check") + " conform"
		if conforming(list) == 1 {
			b.Message += "s"
		}
		if known := distinct(with(list, result.CheckXFail)); known > 0 {
			b.Message += fmt.Sprintf(", %d known to fail", known)
		}
	}
	if b.Message == "" {
		b.Message = "unknown"
	}
	return b
}

func writeBadge(w io.Writer, run *result.Run) error {
	data, err := json.Marshal(badgeOf(run))
	if err != nil {
		return fmt.Errorf("write badge.json: %w", err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write badge.json: %w", err)
	}
	return nil
}

// Measures of the drawing, in pixels: a letter of 11 px sans-serif is taken to be 7 wide, and textLength sets it so.
const (
	badgeHeight = 20
	badgeLetter = 7
	badgeMargin = 6
)

func writeBadgeSVG(w io.Writer, run *result.Run) error {
	b := badgeOf(run)
	fill := "#5f6368"
	if c, ok := badgeColors[run.Verdict]; ok {
		fill = c[1]
	}
	width := func(s string) int { return utf8.RuneCountInString(s)*badgeLetter + 2*badgeMargin }
	left, right := width(b.Label), width(b.Message)
	text := func(x int, s string, box int) string {
		return fmt.Sprintf(`<text x="%d" y="14" textLength="%d">%s</text>`, x+badgeMargin, box-2*badgeMargin, html.EscapeString(s))
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img" aria-label="%s">`+"\n", left+right, badgeHeight, html.EscapeString(b.Label+": "+b.Message))
	fmt.Fprintf(&out, "<title>%s</title>\n", html.EscapeString(b.Label+": "+b.Message))
	fmt.Fprintf(&out, `<clipPath id="c"><rect width="%d" height="%d" rx="3"/></clipPath>`+"\n", left+right, badgeHeight)
	fmt.Fprintf(&out, `<g clip-path="url(#c)"><rect width="%d" height="%d" fill="#333"/><rect x="%d" width="%d" height="%d" fill="%s"/></g>`+"\n", left, badgeHeight, left, right, badgeHeight, fill)
	fmt.Fprintf(&out, `<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">%s%s</g>`+"\n</svg>\n", text(0, b.Label, left), text(left, b.Message, right))
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("write badge.svg: %w", err)
	}
	return nil
}
