package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/probe"
)

// ProbeRequest says what to probe; see "tlsroute-bench probe".
type ProbeRequest struct {
	Address  string
	SNI      string
	ALPN     []string
	Roots    *x509.CertPool
	Insecure bool
	Path     string
	Proxy    *url.URL // nil means the environment's, if it has one
}

// ProbeReport is what a probe found out (DESIGN.md, section 4).
type ProbeReport struct {
	Address    string         `json:"address"`
	Class      string         `json:"class"`
	Reason     string         `json:"reason"`
	Negotiated string         `json:"negotiated"`
	Upgrades   []ProbeUpgrade `json:"upgrades"`
}

// ProbeUpgrade is one upgrade type: whether it crosses the path, and the HTTP status that said so.
type ProbeUpgrade struct {
	Type    string `json:"type"`
	Crosses bool   `json:"crosses"`
	Status  int    `json:"status"`
	Reason  string `json:"reason"`
}

// Said tells whether anything could be said of the path.
func (p ProbeReport) Said() bool { return p.Class != string(probe.Unknown) }

// Probe finds out what a path does to ALPN and which upgrades cross it.
func Probe(ctx context.Context, req ProbeRequest) (ProbeReport, error) {
	d := &client.Dialer{
		Address: req.Address, ServerName: req.SNI, OuterServerName: req.SNI, ALPN: req.ALPN,
		InnerRoots: req.Roots, OuterRoots: req.Roots, Insecure: req.Insecure, Path: req.Path,
	}
	if d.Proxy = client.ProxyFromEnvironment; req.Proxy != nil {
		d.Proxy = func(*url.URL) (*url.URL, error) { return req.Proxy, nil }
	}
	found, err := d.Probe(ctx)
	if failed, ok := errors.AsType[*client.DialError](err); ok {
		// No TCP connection: of the path nothing can be said, but that.
		return ProbeReport{Address: failed.Address, Class: string(probe.Unknown), Reason: failed.Err.Error(), Upgrades: []ProbeUpgrade{}}, nil
	}
	if err != nil {
		return ProbeReport{}, err
	}
	report := ProbeReport{
		Address: found.Address, Class: string(found.Class), Reason: found.Reason, Negotiated: found.Negotiated,
		Upgrades: []ProbeUpgrade{},
	}
	for _, u := range found.Upgrades {
		report.Upgrades = append(report.Upgrades, ProbeUpgrade{Type: u.Type, Crosses: u.Crosses, Status: u.Status, Reason: u.Reason})
	}
	return report, nil
}
