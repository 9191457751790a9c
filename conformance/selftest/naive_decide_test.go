package selftest

import (
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// decide is the table of DESIGN.md section 5, with its holes. A hello without a name and with a guess goes to the first route.
func (n *naive) decide(h wire.Hello) (conformance.FixtureRoute, string, uint8) {
	routes := conformance.FixtureRoutes(n.fixture)
	if len(h.Message) == 0 || n.defaultRoute && !n.known(h.SNI) {
		return routes[1], "", 0 // "b": what comes without a readable name has to go somewhere
	}
	if code := n.refuses(h); code != 0 {
		return conformance.FixtureRoute{}, "", code
	}
	offer := n.prefer(h.ALPN)
	if n.firstOnly && len(offer) > 1 {
		offer = offer[:1]
	}
	if len(offer) == 0 {
		offer = []string{"http/1.1"}
	}
	named := n.rank(h.SNI)
	nameless := slices.DeleteFunc(slices.Clone(routes), func(r conformance.FixtureRoute) bool { return r.SNI != nil })
	for _, name := range offer {
		for _, r := range slices.Concat(named, nameless) {
			if r.ALPN == nil || slices.Contains(r.ALPN, name) {
				if h.ALPN == nil {
					if n.ignoreALPNWithout {
						return named[0], "", 0
					}
					name = ""
				}
				return r, name, 0
			}
		}
		if n.eitherMatches {
			for _, r := range routes {
				if slices.Contains(r.ALPN, name) {
					return r, name, 0
				}
			}
		}
	}
	switch {
	case len(named) > 0 && n.ignoreALPN:
		return named[0], "", 0
	case len(named) > 0 || h.SNI == "":
		return conformance.FixtureRoute{}, "", 120
	}
	return conformance.FixtureRoute{}, "", 112
}

func (n *naive) known(sni string) bool { return sni != "" && len(n.rank(sni)) > 0 }

// rank lists the routes of a name, the most specific first.
func (n *naive) rank(sni string) []conformance.FixtureRoute {
	if !n.caseSensitive {
		sni = strings.ToLower(sni)
	}
	var list []conformance.FixtureRoute
	length := map[string]int{}
	for _, r := range conformance.FixtureRoutes(n.fixture) {
		for _, pattern := range r.SNI {
			rest, wild := strings.CutPrefix(pattern, "*")
			if n.lazySuffix {
				rest = strings.TrimPrefix(rest, ".")
			}
			if !wild && pattern == sni || wild && strings.HasSuffix(sni, rest) || n.ignoreSNI {
				list = append(list, r)
				length[r.Name] = len(pattern)
				break
			}
		}
	}
	slices.SortStableFunc(list, func(a, b conformance.FixtureRoute) int {
		if n.ignoreSNI {
			return 0
		}
		if n.wildcardFirst && strings.Contains(a.SNI[0], "*") != strings.Contains(b.SNI[0], "*") {
			return strings.Index(b.SNI[0], "*") - strings.Index(a.SNI[0], "*") // 0 and -1
		}
		if n.shortestFirst {
			return length[a.Name] - length[b.Name]
		}
		return length[b.Name] - length[a.Name]
	})
	return list
}
