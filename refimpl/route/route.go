// Package route is the routing table: a ClientHello's name and ALPN list in, a Decision out. It is pure, does no I/O, and a
// lookup costs O(labels of the name + length of the list), not O(rules). (An ALPN prefix costs one step for each length that the
// prefixes of one name have: 254 at most.)
//
// The specification is the table of DESIGN.md section 5, "the first row that fits decides":
//
//	1  name and ALPN of a route                                    that route
//	2  any name or none, ALPN of a route without sni               that route
//	3  a route's name, but no route of that name takes the ALPN    alert 120
//	4  no name or an own one, with http/1.1, h2 or no ALPN         the router's own HTTP endpoint
//	5  a name nobody knows                                         alert 112
//
// What the rows leave open is decided so:
//
//   - Names are compared without case and without one trailing dot. "*.x" takes one or more labels before x, never x itself.
//   - "x.*" is a prefix: it takes one or more labels behind x, never x itself. Kubernetes clients are told apart so, by
//     "kube-teleport-proxy-alpn.*". A prefix goes before every wildcard, whatever their lengths: which of the two a name meets must not
//     depend on how long the rest of the name is.
//   - Row 1 goes from the exact name to the longest prefix to the shorter ones, to the longest wildcard to the shorter ones, and on to
//     row 2, until a route takes the ALPN: a wildcard's names include those that are also listed exactly. At each step the client's
//     ALPN names are tried in its order against the routes that list them; a route without alpn comes after those.
//   - An ALPN name of a route that ends in "*" is a prefix: "teleport-auth@*" takes the name of any cluster, and what the client offered
//     is confirmed. A name listed exactly goes before it, a longer prefix before a shorter one, and the client's order before both.
//   - A route without alpn takes any list and none. The first name offered is then confirmed, GREASE (RFC 8701) excepted.
//   - A hello without ALPN counts as one that offers http/1.1; nothing is then confirmed.
//   - Row 4 confirms http/1.1 when it is offered, whatever the client's order: h2 has no upgrade. A hello that offers h2 and not
//     http/1.1 is confirmed h2, and RFC 7301 has the endpoint speak it.
//   - An own name may be a certificate's wildcard, which stands for one label (RFC 9525). A name that a route claims is not own.
//   - No name, or an own one, with an ALPN list that nobody takes: alert 120.
//   - ProbeALPN is confirmed by the router itself, with any name or none, unless a route lists it. A route without alpn takes it only
//     in company, an ALPN prefix never.
package route

import (
	"fmt"
	"slices"
	"strings"
)

// ProbeALPN is the ALPN name that the router answers itself: "what does this path do to ALPN?".
const ProbeALPN = "tlsroute-probe/1"

// maxName is the longest name of a rule or certificate that is looked up, RFC 1035 section 2.3.4.
const maxName = 255

const http1, http2 = "http/1.1", "h2"

// Rule is what of a route the table needs.
type Rule struct {
	Name string   // for messages; unique
	SNI  []string // "pg.example.test", "*.example.test" or "kube.*"; empty = any name and none
	ALPN []string // "teleport-postgres" or "teleport-auth@*"; empty = any list and none
}

// Kind says who gets the connection.
type Kind int

// The kinds of a Decision.
const (
	RouteKind   Kind = iota // the rule at Decision.Index
	OwnEndpoint             // the router's own HTTP endpoint
	Probe                   // the router itself: confirm ProbeALPN, then close politely
	NoALPN                  // alert 120, no backend is dialled
	NoName                  // alert 112, no backend is dialled
)

// String returns the word for logs and metrics.
func (k Kind) String() string {
	switch k {
	case RouteKind:
		return "route"
	case OwnEndpoint:
		return "own-endpoint"
	case Probe:
		return "probe"
	case NoALPN:
		return "no-alpn"
	case NoName:
		return "no-name"
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Decision is the answer of the table for one ClientHello.
type Decision struct {
	Index int    // of the rule, -1 when Kind is not RouteKind
	ALPN  string // the name to confirm; "" = none
	Kind  Kind
	Why   string // which row and what matched, for the log; untrusted names in it are quoted
}

// Alert returns the TLS alert that refuses the connection, 0 when it is not refused.
func (d Decision) Alert() uint8 {
	switch d.Kind {
	case NoALPN:
		return 120 // no_application_protocol, RFC 7301
	case NoName:
		return 112 // unrecognized_name, RFC 6066
	default:
		return 0
	}
}

// Match decides about a ClientHello with the name sni ("" = none) and the ALPN list alpn (empty = no extension).
func (t *Table) Match(sni string, alpn []string) Decision {
	name := normal(sni)
	o := newOffer(alpn)
	named := false
	for key := range keys(name) {
		e := t.names[key]
		if e == nil {
			continue
		}
		named = true
		if d, ok := o.pick(e); ok {
			d.Why = "row 1: " + written(key) + ", " + d.Why
			return d
		}
	}
	if d, ok := o.pick(&t.nameless); ok {
		d.Why = "row 2: a route without sni, " + d.Why
		return d
	}
	own := name == "" || t.isOwn(name)
	switch {
	case o.probe:
		return Decision{Index: -1, Kind: Probe, ALPN: ProbeALPN, Why: "the probe's ALPN"}
	case named:
		return Decision{Index: -1, Kind: NoALPN, Why: fmt.Sprintf("row 3: no route of %q takes %q", name, o.names)}
	case own && o.has(http1):
		d := Decision{Index: -1, Kind: OwnEndpoint, ALPN: http1, Why: "row 4: own name or none, http/1.1"}
		if !o.confirm {
			d.ALPN, d.Why = "", "row 4: own name or none, no ALPN"
		}
		return d
	case own && o.has(http2):
		return Decision{Index: -1, Kind: OwnEndpoint, ALPN: http2, Why: "row 4: own name or none, h2 without http/1.1"}
	case own:
		return Decision{Index: -1, Kind: NoALPN, Why: fmt.Sprintf("no row: own name or none, nobody takes %q", o.names)}
	}
	return Decision{Index: -1, Kind: NoName, Why: fmt.Sprintf("row 5: nobody knows %q", name)}
}

// offer is a client's ALPN list as the table sees it.
type offer struct {
	names   []string // GREASE left out; http/1.1 when there was no list
	confirm bool     // there was a list
	probe   bool     // ProbeALPN is in it
	only    bool     // and nothing else
}

func newOffer(alpn []string) offer {
	if len(alpn) == 0 {
		return offer{names: []string{http1}}
	}
	o := offer{names: alpn, confirm: true}
	if slices.ContainsFunc(alpn, isGREASE) {
		o.names = slices.DeleteFunc(slices.Clone(alpn), isGREASE)
	}
	o.probe = o.has(ProbeALPN)
	o.only = o.probe && !slices.ContainsFunc(o.names, func(n string) bool { return n != ProbeALPN })
	return o
}

func (o offer) has(name string) bool { return slices.Contains(o.names, name) }

// pick finds the rule among those of one name that takes the offer.
func (o offer) pick(e *entry) (Decision, bool) {
	for _, n := range o.names {
		i, rule, ok := e.find(n)
		if !ok {
			continue
		}
		d := Decision{Index: i, ALPN: n, Why: rule}
		if !o.confirm {
			d.ALPN, d.Why = "", "no ALPN counts as "+n
		}
		return d, true
	}
	if e.any < 0 || o.only {
		return Decision{}, false
	}
	d := Decision{Index: e.any, Why: "a route without alpn"}
	if o.confirm && len(o.names) > 0 {
		d.ALPN = o.names[0]
	}
	return d, true
}

// isGREASE tells the reserved names of RFC 8701 section 3: two equal bytes of the form 0x?a. They are never selected.
func isGREASE(name string) bool {
	return len(name) == 2 && name[0] == name[1] && name[0]&0x0f == 0x0a
}

// normal brings a name into the form of the table's keys.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// keys yields what a name is looked up by, the most specific first: itself, its prefixes ("a.b.", "a."), its tails (".b.c", ".c"). All
// are pieces of the name, so that a lookup copies nothing.
func keys(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		// No rule has a longer name, and a hello may carry one of 64 KiB. Sent as a name, a star is nobody's; so is a dot at an end, which
		// would be taken for a key.
		if name == "" || len(name) > maxName || strings.Contains(name, "*") || name[0] == '.' || name[len(name)-1] == '.' || !yield(name) {
			return
		}
		for end := len(name); ; {
			if end = strings.LastIndexByte(name[:end], '.'); end < 0 {
				break
			}
			if !yield(name[:end+1]) {
				return
			}
		}
		for begin := 0; ; begin++ {
			i := strings.IndexByte(name[begin:], '.')
			if i < 0 {
				return
			}
			if begin += i; !yield(name[begin:]) {
				return
			}
		}
	}
}

// keyOf is what a rule's name, in normal form, is found by: ".x" for "*.x", "x." for "x.*". No name begins or ends in a dot itself.
func keyOf(name string) string {
	if tail, ok := strings.CutPrefix(name, "*"); ok {
		return tail
	}
	return strings.TrimSuffix(name, "*")
}

// written is the name of a rule as it was before keyOf.
func written(key string) string {
	switch {
	case strings.HasPrefix(key, "."):
		return "*" + key
	case strings.HasSuffix(key, "."):
		return key + "*"
	}
	return key
}
