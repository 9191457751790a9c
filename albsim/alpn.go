package albsim

import (
	"crypto/tls"
	"errors"
	"slices"
)

var errUnknownALPN = errors.New("unknown ALPN: the connection is ended without an alert")

// alpn makes cfg select from offer, in the offer's order, by the knob ALPNNoOverlap. cfg is complete but for this.
func (s *Server) alpn(cfg *tls.Config, offer []string) {
	none := cfg.Clone()
	cfg.NextProtos = offer
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		raw, _ := hello.Conn.(*rawConn)
		if raw != nil {
			raw.hello = new(*hello)
			raw.hello.SupportedProtos = slices.Clone(hello.SupportedProtos)
		}
		if overlap(hello.SupportedProtos, offer) {
			return nil, nil
		}
		switch s.plan.profile.ALPNNoOverlap {
		case "ignore":
			// crypto/tls answers a list without overlap with alert 120; an ALB completes the handshake (ALB-TLS-03).
			return none, nil
		case "eof":
			if len(hello.SupportedProtos) > 0 {
				if raw != nil {
					raw.muted.Store(true)
				}
				return nil, errUnknownALPN
			}
		case "echo":
			if len(hello.SupportedProtos) > 0 {
				echo := none.Clone()
				echo.NextProtos = hello.SupportedProtos[:1]
				return echo, nil
			}
		case "http/1.1":
			// crypto/tls selects from this very slice, and hashes the hello as it came: what is put into it counts as offered.
			if len(hello.SupportedProtos) > 0 {
				hello.SupportedProtos[0] = "http/1.1"
				forced := none.Clone()
				forced.NextProtos = []string{"http/1.1"}
				return forced, nil
			}
		}
		return nil, nil
	}
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
