package conformance

import (
	"slices"
	"strings"
)

// FixtureDomain is the domain of a fixture that names none.
const FixtureDomain = "conformance.example.test"

// FixtureRoute is one row of the table that [Fixture] documents, as data: whoever sets up a target turns it into that
// target's configuration.
type FixtureRoute struct {
	Name      string
	SNI, ALPN []string
	// Mode is terminate or passthrough; ClientAuth none or require, and then CA tells the certificate authority, "A" or "B".
	Mode, ClientAuth, CA string
	// Witness is "A", "B", or "dead" for a port on which nothing listens.
	Witness string
}

// ChainBytes is how long each of the three certificates of Fixture.ClientChain is at least: an RSA key and a signature of 8192 bits
// are 1024 bytes each, and names and dates come on top.
const ChainBytes = 2200

// The modes and witnesses of a fixture's routes.
const (
	ModeTerminate   = "terminate"
	ModePassthrough = "passthrough"
	WitnessA        = "A"
	WitnessB        = "B"
	WitnessDead     = "dead"
)

// FixtureRoutes is the table of the fixture, in its order.
func FixtureRoutes(f Fixture) []FixtureRoute {
	name := func(label string) []string { return []string{f.Name(label)} }
	open := func(n string, sni, alpn []string, witness string) FixtureRoute {
		return FixtureRoute{Name: n, SNI: sni, ALPN: alpn, Mode: ModeTerminate, ClientAuth: "none", Witness: witness}
	}
	return []FixtureRoute{
		open("a", name("a"), []string{"trb-a", "trb-both"}, WitnessA),
		open("b", name("b"), []string{"trb-b", "trb-both"}, WitnessB),
		open("wild", name("*.wild"), []string{"trb-wild"}, WitnessA),
		open("deep", name("*.deep.wild"), []string{"trb-wild"}, WitnessB),
		open("web", name("a"), []string{"http/1.1"}, WitnessB),
		open("any", nil, []string{"trb-any"}, WitnessB),
		{Name: "mtls", SNI: name("mtls"), ALPN: []string{"trb-mtls"}, Mode: ModeTerminate, ClientAuth: "require", CA: "A", Witness: WitnessA},
		{Name: "mtls2", SNI: name("mtls2"), ALPN: []string{"trb-mtls"}, Mode: ModeTerminate, ClientAuth: "require", CA: "B", Witness: WitnessB},
		{Name: "pass", SNI: FixturePassNames(f), Mode: ModePassthrough, ClientAuth: "none", Witness: WitnessA},
		open("dead", name("dead"), []string{"trb-dead"}, WitnessDead),
		open("exact", name("exact.wild"), []string{"trb-wild"}, WitnessB), // last, so that the order of the table does not help
	}
}

// FixtureNames are the names that the router's certificate must carry so that every terminated route can be verified. No
// wildcard covers the whole domain: a name that no route claims must stay unknown.
func FixtureNames(f Fixture) []string {
	names := []string{f.Name("any")}
	if f.Own != "" {
		names = append([]string{f.Own}, names...)
	}
	for _, r := range FixtureRoutes(f) {
		for _, n := range r.SNI {
			if r.Mode == ModeTerminate && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// FixturePassNames are the names on the certificate of the witness behind the passthrough route.
func FixturePassNames(f Fixture) []string { return []string{f.Name("pass"), f.Name("*.pass")} }

// Name puts a label before the fixture's domain.
func (f Fixture) Name(label string) string {
	domain := f.Domain
	if domain == "" {
		domain = FixtureDomain
	}
	return label + "." + domain
}

// route finds a row by name, and a concrete server name that leads to it.
func (f Fixture) route(name string) (r FixtureRoute, sni string, ok bool) {
	for _, r := range FixtureRoutes(f) {
		switch {
		case r.Name != name:
		case len(r.SNI) == 0:
			return r, f.Name(name), true
		default:
			return r, strings.Replace(r.SNI[0], "*", "x", 1), true
		}
	}
	return FixtureRoute{}, "", false
}
