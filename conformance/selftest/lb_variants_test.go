package selftest

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// documents is the simulator whose other instances do not get the document that was asked for.
func documents(spoil func(t *testing.T, base, doc *door.Balancer)) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := balancerTarget(t, nil)
		base := target.Balancers.Document()
		target.Balancers = ours.Balancers{Base: base, Change: func(doc *door.Balancer) { spoil(t, &base, doc) }}
		return target
	}
}

func init() {
	addMutant("ALB-ERR-02", "takes no targets for one that is down", documents(func(t *testing.T, _, doc *door.Balancer) {
		if len(doc.Targets) == 0 {
			dead, release, err := netx.Refuse()
			check(t, err)
			t.Cleanup(func() { check(t, release()) })
			doc.Targets = []door.BalancerTarget{{Address: dead}}
		}
	}))
	addMutant("ALB-ERR-03", "takes a target that is down for none", documents(func(_ *testing.T, base, doc *door.Balancer) {
		if len(doc.Targets) == 1 && doc.Targets[0] != base.Targets[0] {
			doc.Targets = nil
		}
	}))
	addMutant("ALB-TG-01", "sends everything to one", documents(func(_ *testing.T, _, doc *door.Balancer) { doc.Targets = doc.Targets[:min(len(doc.Targets), 1)] }))
	addMutant("ALB-TLS-10", "shows RSA", documents(func(_ *testing.T, _, doc *door.Balancer) { doc.Certificates = doc.Certificates[:1] }))
	addMutant("ALB-TLS-10", "has ECDSA only", documents(func(_ *testing.T, _, doc *door.Balancer) {
		doc.Certificates = doc.Certificates[len(doc.Certificates)-1:]
	}))
}
