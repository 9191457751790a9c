package lab

import (
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/refimpl/route"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
	"github.com/tlsroute/tlsroute-bench/refimpl/router/admin"
	"github.com/tlsroute/tlsroute-bench/scenarios"
)

// Explanation says where the router sends a ClientHello, and why.
type Explanation struct {
	To       string
	Confirms string // the ALPN name, or why none is
	Why      string
	Refused  bool // by an alert, which To names
}

// Explain asks the router about a ClientHello that nobody sends: d.Config is read and judged as for a start, and nothing listens. An error
// is a *ConfigError.
func (d Daemon) Explain(sni string, alpn []string) (Explanation, error) {
	var config router.Config
	if err := readConfig(d.Config, scenarios.RouterSchema, &config); err != nil {
		return Explanation{}, err
	}
	s, err := router.New(config, router.Options{Admin: admin.New})
	if err != nil {
		return Explanation{}, &ConfigError{d.Config, err}
	}
	decision, r := s.Explain(sni, alpn)
	e := Explanation{Confirms: decision.ALPN, Why: decision.Why, Refused: decision.Alert() != 0}
	if e.Confirms == "" {
		e.Confirms = "no ALPN"
	}
	switch decision.Kind {
	case route.RouteKind:
		e.To = fmt.Sprintf("route %s, %s, %s", r.Name, r.Mode, strings.Join(r.Backend.List(), " or "))
		if r.Mode == router.ModePassthrough {
			e.Confirms = "what the backend does"
		}
	case route.OwnEndpoint:
		e.To = "the router's own HTTP endpoint"
	case route.Probe:
		e.To = "the router itself, which answers the probe"
	default:
		e.To = fmt.Sprintf("nobody: alert %d", decision.Alert())
	}
	return e, nil
}
