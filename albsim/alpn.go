package albsim

import (
	"crypto/tls"
	"slices"
)

// alpn makes cfg select from offer, in the offer's order, by the knob ALPNNoOverlap. cfg is complete but for this.
func (s *Server) alpn(cfg *tls.Config, offer []string) {
	none := cfg.Clone()
	cfg.NextProtos = offer
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if raw, ok := hello.Conn.(*rawConn); ok {
			raw.hello = hello
		}
		if s.plan.profile.ALPNNoOverlap != "ignore" || overlap(hello.SupportedProtos, offer) {
			return nil, nil
		}
		// crypto/tls answers a list without overlap with alert 120; an ALB completes the handshake (ALB-TLS-03).
		return none, nil
	}
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
