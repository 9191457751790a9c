package albsim

import (
	"reflect"
	"slices"
	"time"
)

// The kinds of load balancers that a profile can be of.
const (
	application = "application"
	network     = "network"
)

// NetworkKnobs are about a network load balancer. A profile of the other kind has none of them.
type NetworkKnobs struct {
	// IdleExpiry is what the ends of an idle connection get: silent (nothing, and a RST for the next that either sends),
	// rst or fin.
	IdleExpiry string `words:"silent,rst,fin"`
	// KeepAliveCounts makes a TCP keep-alive of either end count as traffic.
	KeepAliveCounts bool
	// EmitKeepAlive is the interval at which a TLS listener sends keep-alives both ways once it has got one; 0 for never.
	EmitKeepAlive time.Duration
	// TLSIdle is the idle timeout of a TLS listener, which no attribute changes.
	TLSIdle time.Duration
	// TargetALPN is what a TLS target is offered: selected (the protocol agreed on in front) or none.
	TargetALPN string `words:"selected,none"`
	// LargeCertificates lets a TLS listener have certificates with an elliptic curve, or with more than 2048 bits of RSA.
	LargeCertificates bool
}

// networkToo are the knobs of the other structs that a network load balancer has as well.
var networkToo = []string{"ALPNNoOverlap", "BackendSNI", "BackendVerify", "HalfClose", "TLSTruncation", "MaxResponseHeaders", "ConnectTimeout", "TargetTLSTimeout"}

// has tells whether a field of the embedded structs is a knob of the profile.
func (p *Profile) has(f reflect.StructField) bool {
	own := reflect.TypeFor[Profile]().Field(f.Index[0]).Type == reflect.TypeFor[NetworkKnobs]()
	if p.Kind == network {
		return own || slices.Contains(networkToo, f.Name)
	}
	return !own
}
