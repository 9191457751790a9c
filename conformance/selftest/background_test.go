package selftest

import (
	"net"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// Traffic beside the checks is compared, and a target that loses it is found out though no check is about it.
func TestTrafficBesideTheChecks(t *testing.T) {
	opt := conformance.Options{Only: []string{"DET-13", "TLS-01"}, Background: 20, Seed: 1}
	for name, c := range map[string]struct {
		target func(*testing.T) conformance.Target
		lost   bool
	}{
		"the reference": {right[0].target, false},
		"cuts connections that live long": {inFront(func(dst, src net.Conn) {
			timer := time.AfterFunc(helloTimeout/2, func() { src.Close(); dst.Close() })
			defer timer.Stop()
			copyWith(nil, dst, src)
		}, nil), true},
	} {
		target := c.target(t)
		target.Paths = target.Paths[:1]
		got, err := conformance.Run(t.Context(), target, opt)
		check(t, err)
		if len(got.Background) != 1 {
			t.Fatalf("%s: %+v", name, got.Background)
		}
		if b := got.Background[0]; b.Tunnels != 20 || (b.Failed > 0) != c.lost || !c.lost && b.Trips == 0 || len(b.Errors) > b.Failed {
			t.Errorf("%s: %+v", name, b)
		}
	}
}
