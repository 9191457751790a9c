package selftest

import (
	"bytes"
	"net"
	"slices"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// earlier is the naive router as one that claims to know what to do about early data.
func earlier(e earlyBugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := naiveWith(bugs{tls2: tls2{early: e}})(t)
		target.Features = append(target.Features, "early-data")
		return target
	}
}

// earlyBugs are the switches of what the naive router does about early data. Without any it leaves that to crypto/tls.
type earlyBugs struct {
	ignores bool // as it should be
	passes  bool // on to the backend, whatever it is
}

// early serves a client that offers early data; false means that there is none, or no switch for it.
func (n *naive) earlyData(c net.Conn, raw []byte, h wire.Hello, route conformance.FixtureRoute, alpn string) bool {
	if !n.early.ignores && !n.early.passes || !slices.Contains(h.Extensions, wire.ExtEarlyData) {
		return false
	}
	var early [][]byte
	s, err := wire.Answer(wire.WithPrefix(c, bytes.Clone(raw[len(h.Raw):])), h, alpn, func(fragment []byte) { early = append(early, fragment) })
	if err != nil {
		return true
	}
	b, err := net.Dial("tcp", n.address(route))
	if err != nil {
		return true
	}
	if n.early.passes {
		_, _ = b.Write(slices.Concat(early...)) // the backend says what it makes of it
	}
	n.join(s, b)
	return true
}

func init() {
	right = append(right, conforming{
		name: "naive router with early data", role: conformance.Router, only: []string{"TLS-25"}, target: earlier(earlyBugs{ignores: true}),
	})
	addMutant("TLS-25", "ends the handshake", earlier(earlyBugs{}))
	addMutant("TLS-25", "passes on what it cannot read", earlier(earlyBugs{passes: true}))
}
