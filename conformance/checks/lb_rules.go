package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Outcomes of checks of a listener's rules.
const (
	byRules       conformance.Outcome = "by-the-rules"
	otherRule     conformance.Outcome = "another-rule"
	redirected    conformance.Outcome = "redirected"
	otherLocation conformance.Outcome = "other-location"
	noPage        conformance.Outcome = "no-page"
)

const rulesPage = awsDocs + "application/listener-update-rules.html"

func init() {
	const rules = "AWS, Application Load Balancers: listener rules"
	for _, r := range []struct {
		id, slug, title, why, clause string
		rules                        []door.Rule
		probes                       []probe
	}{
		{
			"ALB-RULE-01", "alb-rule-order", "Of several rules that are met the one with the lowest priority acts, and the default when none is",
			"A rule for all paths beside one for a single path is how sites are moved piece by piece. Tried in the order in which they were made, " +
				"the wide one hides the other, and what was thought to be moved is not.",
			"lowest priority first, whatever the order in the document, and the default last",
			[]door.Rule{
				fixed(30, "wide", door.Condition{Field: "path-pattern", Values: []string{"/trb/*"}}),
				fixed(10, "narrow", door.Condition{Field: "path-pattern", Values: []string{"/trb/a/*"}}),
				fixed(20, "middle", door.Condition{Field: "path-pattern", Values: []string{"/trb/a*"}}),
			},
			[]probe{{target: "/trb/a/x", want: "narrow"}, {target: "/trb/ab", want: "middle"}, {target: "/trb/b", want: "wide"}, {target: "/other", want: byDefault}},
		},
		{
			"ALB-RULE-02", "alb-rule-case", "Case counts in a path and not in host, header and query, and the query is no part of the path",
			"A rule that guards a path is passed by with another letter case if the target does not mind case. A rule for a host must not be: names " +
				"have none. Operators who take all four for alike leave a hole or close a door.",
			"each of eight requests meets the rule that it should, or none",
			[]door.Rule{
				fixed(10, "path", door.Condition{Field: "path-pattern", Values: []string{"/Trb-Case"}}),
				fixed(20, "host", door.Condition{Field: "host-header", Values: []string{"case.example.test"}}),
				fixed(30, "header", door.Condition{Field: "http-header", HTTPHeaderName: "X-Trb-Case", Values: []string{"some value"}}),
				fixed(40, "query", door.Condition{Field: "query-string", Values: []string{"trb-key=some-value"}}),
			},
			[]probe{
				{target: "/Trb-Case", want: "path"},
				{target: "/trb-case", want: byDefault},
				{target: "/Trb-Case?a=b", want: "path"},
				{target: "/a?b=/Trb-Case", want: byDefault},
				{target: "/", host: "CASE.Example.test", want: "host"},
				{target: "/", field: "x-trb-CASE: Some VALUE", want: "header"},
				{target: "/?TRB-Key=Some-VALUE", want: "query"},
				{target: "/trb-key=some-value", want: byDefault},
			},
		},
		{
			"ALB-RULE-03", "alb-rule-source", "A rule on the source address goes by the connection, and not by X-Forwarded-For",
			"Rules on addresses keep strangers from what is for the office alone. Anybody can write X-Forwarded-For; a balancer that goes by it lets " +
				"in whoever names the right network.",
			"the rule for the connection's network acts, whatever the field says",
			[]door.Rule{
				fixed(10, "forged", door.Condition{Field: "source-ip", Values: []string{"192.0.2.0/24"}}),
				fixed(20, "peer", door.Condition{Field: "source-ip", Values: []string{"127.0.0.0/8"}}),
			},
			[]probe{{target: "/", want: "peer"}, {target: "/", field: "X-Forwarded-For: 192.0.2.4", want: "peer"}},
		},
	} {
		variant(conformance.Check{
			ID: r.id, Slug: r.slug, Level: conformance.Must, Features: []string{door.FeatureRules}, Title: r.title, Why: r.why,
			Clauses: clauses(fact(r.id, "D", rules, rulesPage)), Accept: pass(r.clause, byRules),
			Run: altered(ruled(r.rules...), func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
				return probes(ctx, t, r.probes)
			}),
			Forbid: map[conformance.Outcome]string{otherRule: "another rule acted than should"},
		})
	}
	variant(conformance.Check{
		ID: "ALB-RULE-04", Slug: "alb-redirect", Level: conformance.Must, Features: []string{door.FeatureRules},
		Title: "A redirect fills in protocol, host, port, path and query, with 301 or 302 and a page",
		Why: "Redirects to HTTPS and to a new name keep old links alive only if path and query come along. One that loses a part leads to the right " +
			"host and a page that is not there.",
		Clauses: clauses(fact("ALB-RULE-04", "D", rules, rulesPage), rfc(9110, "10.2.2")),
		Accept:  pass("Location is what the placeholders stand for, and the body is HTML", redirected),
		Run:     altered(ruled(redirects()...), followsNone),
		Forbid:  map[conformance.Outcome]string{otherLocation: "Location is another address", noPage: "there is no HTML", passedOn: "the request reached the target"},
	})
}

// byDefault is what a probe wants that meets no rule.
const byDefault = "the default"

// probe is a request, and the rule that should act on it.
type probe struct{ target, host, field, want string }

// fixed is a rule whose answer has its name.
func fixed(priority int, name string, when ...door.Condition) door.Rule {
	return door.Rule{Priority: priority, Conditions: when, Actions: []door.Action{{Type: "fixed-response", StatusCode: 200, ContentType: "text/plain", MessageBody: name}}}
}

func ruled(rules ...door.Rule) func(*door.Balancer) {
	return func(doc *door.Balancer) { doc.Rules = rules }
}

// asked is the request of a probe.
func (p probe) asked(t *conformance.T) string {
	host, field := p.host, p.field
	if host == "" {
		host = t.Path.Upgrade.Host
	}
	if field == "" {
		field = "Accept: */*"
	}
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", p.target, host, field)
}

func probes(ctx context.Context, t *conformance.T, list []probe) (conformance.Observation, error) {
	for _, p := range list {
		front, err := t.HTTP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		o, resp, rest := decides(ctx, t, front, p.asked(t))
		got := byDefault
		switch o.Outcome {
		case passedOn:
		case conformance.HTTPStatus(200):
			body, err := resp.Body(rest, 64)
			if err != nil {
				return saw(t.Outcome(err), "GET %s: the rule's answer: %v", p.target, err), front.Close()
			}
			got = string(body)
		default:
			return o, front.Close()
		}
		if got != p.want {
			return saw(otherRule, "GET %s (host %q, field %q): %s acted, not %s", p.target, p.host, p.field, got, p.want), front.Close()
		}
		if err := front.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("closing: %v", err) // the other end may have closed before
		}
	}
	return saw(byRules, "%d requests", len(list)), nil
}

func redirects() []door.Rule {
	query := "old=#{path}&#{query}"
	return []door.Rule{
		{
			Priority: 10, Conditions: []door.Condition{{Field: "path-pattern", Values: []string{"/trb/all"}}},
			Actions: []door.Action{{Type: "redirect", StatusCode: 301, Protocol: "HTTPS", Host: "new.#{host}", Port: "8443", Path: "/new/#{path}", Query: &query}},
		},
		{
			Priority: 20, Conditions: []door.Condition{{Field: "path-pattern", Values: []string{"/trb/path"}}},
			Actions: []door.Action{{Type: "redirect", StatusCode: 302, Path: "/moved"}},
		},
	}
}

func followsNone(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	scheme, standard := "http", "80"
	if t.Path.Upgrade.TLS {
		scheme, standard = "https", "443"
	}
	host := t.Path.Upgrade.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, port, err := net.SplitHostPort(t.Path.Address)
	if err != nil {
		return conformance.Observation{}, err
	}
	for _, r := range []struct {
		target, want string
		status       int
	}{
		{"/trb/all?k=v", "https://new." + host + ":8443/new/trb/all?old=trb/all&k=v", 301},
		{"/trb/path?k=v", scheme + "://" + host + ":" + port + "/moved?k=v", 302},
	} {
		front, err := t.HTTP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		defer func() { _ = front.Close() }()
		o, resp, rest := decides(ctx, t, front, probe{target: r.target}.asked(t))
		if o.Outcome != conformance.HTTPStatus(r.status) {
			return o, nil
		}
		got, err := url.Parse(resp.Header.Get("Location"))
		if err == nil && got.Host != "" && got.Port() == "" {
			got.Host += ":" + standard // which may be left out
		}
		if err != nil || !strings.EqualFold(got.String(), r.want) {
			return saw(otherLocation, "GET %s: Location %q, not %q", r.target, resp.Header.Get("Location"), r.want), nil
		}
		body, err := resp.Body(rest, 4096)
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.Contains(strings.ToLower(string(body)), "<html") {
			return saw(noPage, "GET %s: %s %.40q: %v", r.target, resp.Header.Get("Content-Type"), body, err), nil
		}
	}
	return saw(redirected, "301 with all five, 302 with another path alone"), nil
}
