package checks

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// Outcomes of checks of what a balancer says of the client.
const (
	appended   conformance.Outcome = "appended"
	notAdded   conformance.Outcome = "not-added"
	traced     conformance.Outcome = "traced"
	untraced   conformance.Outcome = "trace-missing"
	traceWrong conformance.Outcome = "trace-wrong"
)

const troublePage = awsDocs + "application/load-balancer-troubleshooting.html"

func init() {
	const trouble = "AWS, Application Load Balancers: troubleshooting"
	balancer(conformance.Check{
		ID: "ALB-HDR-01", Slug: "alb-forwarded-for", Level: conformance.Must,
		Title: "The client's address is appended to X-Forwarded-For; what was there stays in front",
		Why: "Targets log and limit by the last address, and take the first for the client's own word. A balancer that replaces the list loses the " +
			"hops before it; one that puts its entry elsewhere lets a client choose its address.",
		Clauses: clauses(fact("ALB-HDR-01", "D", "AWS, HTTP headers and Application Load Balancers", awsDocs+"application/x-forwarded-headers.html")),
		Accept:  pass("one address, the same each time, behind whatever the client sent", appended), Run: forwardedFor,
		Forbid: map[conformance.Outcome]string{notAdded: "the client's address is not there", replaced: "what the client sent is not there", forged: "the client's own list was taken as it is"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-03", Slug: "alb-forwarded-for-limit", Level: conformance.Must,
		Title: "More than 30 addresses in X-Forwarded-For are answered with 463",
		Why: "Chains of proxies that forward to each other in a circle grow the list until something gives. The number is found in no RFC; who " +
			"meets it needs to know whose it is.",
		Clauses: clauses(fact("ALB-HDR-03", "D", trouble, troublePage)),
		Control: passes(func(t *conformance.T) string { return get(t, "X-Forwarded-For: "+addresses(30)) }),
		Accept:  pass("463, and nothing reaches the target", conformance.HTTPStatus(463)),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return decidesAlone(ctx, t, get(t, "X-Forwarded-For: "+addresses(31)))
		},
		Forbid: map[conformance.Outcome]string{passedOn: "31 addresses reached the target"},
	})
	balancer(conformance.Check{
		ID: "ALB-HDR-05", Slug: "alb-trace-id", Level: conformance.Must,
		Title: "X-Amzn-Trace-Id gets a Root, or a Self in front of one, and is new in a head over 7 KB",
		Why: "One request is found in the logs of all its hops by this field. A balancer that keeps the client's value without its own entry breaks " +
			"the chain at itself, and one that drops the client's Root starts a new one.",
		Clauses: clauses(fact("ALB-HDR-05", "D", "AWS, Application Load Balancers: request tracing", awsDocs+"application/load-balancer-request-tracing.html")),
		Accept:  pass("each of the requests has the field it should", traced), Run: traceField,
		Forbid: map[conformance.Outcome]string{untraced: "the field is not there, or twice", traceWrong: "the field is not as documented"},
	})
}

// addresses is a list of n of them.
func addresses(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("192.0.2.%d", i+1)
	}
	return strings.Join(list, ", ")
}

// forwardedFor sends nothing, one address, and two. The client's own is the same each time, whatever network is in between.
func forwardedFor(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	own := ""
	for _, sent := range []string{"", "192.0.2.4", "192.0.2.4, 192.0.2.8"} {
		lines := []string{"Accept: */*"}
		if sent != "" {
			lines = append(lines, "X-Forwarded-For: "+sent)
		}
		req, err := reaches(ctx, t, get(t, lines...))
		if err != nil {
			return unlessAlone(err)
		}
		got := strings.Join(req.Header.Values("X-Forwarded-For"), ", ")
		last := got[strings.LastIndexByte(got, ' ')+1:]
		if own == "" {
			own = last
		}
		want := strings.TrimPrefix(sent+", "+own, ", ")
		switch {
		case got == want && isAddress(own):
		case got == sent && sent != "":
			return saw(forged, "sent %q, the target got the same", sent), nil
		case got == "" || !isAddress(own):
			return saw(notAdded, "sent %q, the target got %q", sent, got), nil
		default:
			return saw(replaced, "sent %q, the target got %q, not %q", sent, got, want), nil
		}
	}
	return saw(appended, "%s, behind none, one and two that were sent", own), nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// traceID is the field by which AWS lets a request be followed.
const traceID = "X-Amzn-Trace-Id"

const traceEntry = `1-[0-9a-f]{8}-[0-9a-f]{24}`

func traceField(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const root = "1-67891233-abcdef012345678912345678"
	long := []string{"X-Trb-Long: " + strings.Repeat("x", 4000), "X-Trb-Longer: " + strings.Repeat("x", 4000)}
	for _, c := range []struct {
		name, sent, want string
		more             []string
	}{
		{"none", "", `^Root=` + traceEntry + `$`, nil},
		{"a Root", "Root=" + root, `^Self=` + traceEntry + `;\s*Root=` + root + `$`, nil},
		{"a Root and an older Self", "Self=1-67891234-12456789abcdef012345678a;Root=" + root, `^Self=` + traceEntry + `;\s*Root=` + root + `$`, nil},
		{"a field of one's own", "CalledFrom=app", `^(Root=` + traceEntry + `;\s*CalledFrom=app|CalledFrom=app;\s*Root=` + traceEntry + `)$`, nil},
		{"a Root in a head of over 7 KB", "Root=" + root, `^Root=` + traceEntry + `$`, long},
	} {
		lines := append([]string{"Accept: */*"}, c.more...)
		if c.sent != "" {
			lines = append(lines, traceID+": "+c.sent)
		}
		req, err := reaches(ctx, t, get(t, lines...))
		if err != nil {
			return unlessAlone(err)
		}
		got := req.Header.Values(traceID)
		switch {
		case len(got) != 1:
			return saw(untraced, "%s: %q", c.name, got), nil
		case !regexp.MustCompile(c.want).MatchString(got[0]), strings.Contains(got[0], "12456789abcdef012345678a"), c.more != nil && strings.Contains(got[0], root):
			return saw(traceWrong, "%s: %q", c.name, got[0]), nil
		}
	}
	return saw(traced, "five requests: with none, a Root, an older Self, a field of one's own, and over 7 KB"), nil
}
