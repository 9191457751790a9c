package selftest

import (
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

func init() {
	plain := misreads(func(doc *door.Balancer) { doc.TargetGroupAttributes = nil })
	addMutant("ALB-TG-02", "sets no cookie", plain)
	addMutant("ALB-TG-03", "sets no cookie", plain)
	addMutant("ALB-RULE-05", "spreads evenly", rulesWith(func(_ int, r *door.Rule) {
		r.Actions = slices.Clone(r.Actions)
		r.Actions[0].TargetGroups = slices.Clone(r.Actions[0].TargetGroups)
		for i := range r.Actions[0].TargetGroups {
			r.Actions[0].TargetGroups[i].Weight = 1
		}
	}))
	addMutant("ALB-RULE-05", "keeps nobody", rulesWith(func(_ int, r *door.Rule) {
		r.Actions = slices.Clone(r.Actions)
		r.Actions[0].Stickiness = nil
	}))
	addMutant("ALB-UPG-11", "speaks HTTP/1.1 to targets all the same", misreads(func(doc *door.Balancer) { doc.ProtocolVersion = "" }))
	addMutant("ALB-ERR-09", "takes gRPC for HTTP", misreads(func(doc *door.Balancer) { doc.ProtocolVersion = "" }))
}
