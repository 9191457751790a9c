package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// innerHop is the name under which DESIGN.md section 6 files the ClientHello inside an upgrade.
const innerHop = "inner"

// pathView is one path as a picture: stations, and between them what each hop carried.
type pathView struct {
	Name  string
	Start station
	Legs  []leg
	// Inner is the TLS session that runs through all hops, if there is one.
	Inner *leg
}

// station is who stands at the end of a hop, and what it does to TLS.
type station struct{ Name, Role string }

// leg is a hop and the station it leads to.
type leg struct {
	To      station
	Address string
	TLS     bool
	// Seen is false when no ClientHello of this hop was read: then nothing is said about it.
	Seen             bool
	SNI, ALPN        []string // distinct values over all connections; empty when every one came without
	NoSNI, NoALPN    bool     // some connection came without
	Cert, NoCert     bool
	CertText, Source string
}

func pathViews(run *result.Run) []pathView {
	var out []pathView
	for _, p := range run.Topology {
		// The session inside the tunnel may be listed as a hop; it is drawn through all the others, not behind them.
		p.Hops = slices.DeleteFunc(slices.Clone(p.Hops), func(h result.Hop) bool { return h.Name == innerHop })
		if len(p.Hops) == 0 {
			continue
		}
		v := pathView{Name: p.Name}
		from, _ := hopEnds(p.Hops[0].Name)
		inner := wires(run, p.Name, innerHop)
		v.Start = station{Name: from, Role: startRole(run, p, len(inner) > 0)}
		for i, h := range p.Hops {
			_, to := hopEnds(h.Name)
			l := newLeg(wires(run, p.Name, h.Name))
			l.Address, l.TLS = h.Address, h.TLS
			l.To = station{Name: to}
			if i == len(p.Hops)-1 {
				l.To.Role = lastRole(h, len(inner) > 0)
			} else {
				l.To.Role = middleRole(run, p, i)
			}
			v.Legs = append(v.Legs, l)
		}
		if len(inner) > 0 {
			l := newLeg(inner)
			l.TLS = true
			_, to := hopEnds(p.Hops[len(p.Hops)-1].Name)
			l.To = station{Name: to}
			v.Inner = &l
		}
		out = append(out, v)
	}
	return out
}

// hopEnds splits "client->alb".
func hopEnds(name string) (from, to string) {
	from, to, ok := strings.Cut(name, "->")
	if !ok {
		return "client", name
	}
	return from, to
}

func wires(run *result.Run, path, hop string) []result.Wire {
	var out []result.Wire
	for _, w := range run.Wire {
		if w.Path == path && w.Hop == hop {
			out = append(out, w)
		}
	}
	return out
}

func newLeg(list []result.Wire) leg {
	l := leg{Seen: len(list) > 0}
	var sources []string
	for _, w := range list {
		if w.SNI == nil {
			l.NoSNI = true
		} else if name := sniText(w.SNI); !slices.Contains(l.SNI, name) {
			l.SNI = append(l.SNI, name)
		}
		if len(w.ALPN) == 0 {
			l.NoALPN = true
		}
		for _, a := range w.ALPN {
			if !slices.Contains(l.ALPN, a) {
				l.ALPN = append(l.ALPN, a)
			}
		}
		l.Cert, l.NoCert = l.Cert || w.ClientCert, l.NoCert || !w.ClientCert
		if !slices.Contains(sources, w.Source) {
			sources = append(sources, w.Source)
		}
	}
	switch {
	case l.Cert && l.NoCert:
		l.CertText = "client certificate on some routes"
	case l.Cert:
		l.CertText = "client certificate"
	default:
		l.CertText = "no client certificate"
	}
	l.Source = strings.Join(sources, ", ")
	return l
}

// Names and Protocols shorten what may be long lists to something that fits a picture; the table has them all.
func (l leg) Names() string     { return few("SNI ", l.SNI, l.NoSNI, "no SNI") }
func (l leg) Protocols() string { return few("ALPN ", l.ALPN, l.NoALPN, "no ALPN") }

func few(label string, list []string, none bool, absent string) string {
	if len(list) == 0 {
		return absent
	}
	text := label + list[0]
	if len(list) > 1 {
		text += fmt.Sprintf(" +%d", len(list)-1)
	}
	if none {
		text += ", or " + absent
	}
	return text
}

// startRole says what the client does: where the balancers pass its TLS on unread, there is nothing to upgrade.
func startRole(run *result.Run, p result.Path, inner bool) string {
	unread := true
	for i := range len(p.Hops) - 1 {
		unread = unread && middleRole(run, p, i) == unreadRole
	}
	if unread && !inner {
		return "starts TLS"
	}
	return "starts TLS, upgrades, starts TLS again inside"
}

const unreadRole = "passes TLS on unread"

func lastRole(h result.Hop, inner bool) string {
	switch {
	case inner && h.TLS:
		return "ends this TLS; ends the inner one or passes it on, by route"
	case inner:
		return "ends the inner TLS or passes it on, by route"
	case h.TLS:
		return "ends TLS or passes it on, by route"
	default:
		return "gets plaintext"
	}
}

// middleRole says what the station after hop i does. That it passes TLS on unread is seen when the very same ClientHello
// was read on both sides.
func middleRole(run *result.Run, p result.Path, i int) string {
	before, after := wires(run, p.Name, p.Hops[i].Name), wires(run, p.Name, p.Hops[i+1].Name)
	for _, a := range before {
		if a.SHA256 != "" && slices.ContainsFunc(after, func(b result.Wire) bool { return a.SHA256 == b.SHA256 }) {
			return unreadRole
		}
	}
	switch in, out := p.Hops[i].TLS, p.Hops[i+1].TLS; {
	case in && out:
		return "ends TLS here, starts a new one"
	case in:
		return "ends TLS here, goes on in plaintext"
	case out:
		return "takes plaintext, starts TLS"
	default:
		return "plaintext"
	}
}
