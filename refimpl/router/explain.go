package router

import "github.com/tlsroute/tlsroute-bench/refimpl/route"

// Explain says where a ClientHello with this name ("" = none) and ALPN list (empty = no extension) goes under the document in force, and
// why. The Route is the zero value when the decision is none for a route.
func (s *Server) Explain(sni string, alpn []string) (route.Decision, Route) {
	p := s.policy.Load()
	d := p.table.Match(sni, alpn)
	if d.Kind != route.RouteKind {
		return d, Route{}
	}
	return d, p.config.Routes[d.Index]
}
