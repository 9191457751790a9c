package checks

import "github.com/tlsroute/tlsroute-bench/conformance"

// The reasons why rows of docs/alb-rows.md are no checks. A load balancer under test has one listener, and targets which the check plays; it
// is asked for no more than door.Balancer has.
const (
	needsGroup   = "needs of a target group what a target cannot be asked for: "
	needsNetwork = "needs a network load balancer, which a target cannot be asked for: "
	inLogs       = "shows only in the balancer's log, which has no form that all targets share: "
)

func init() {
	conformance.RegisterUntestable(
		conformance.Untestable{ID: "ALB-MTLS-07", Reason: "needs a revocation list in a trust store, which a target cannot be asked for"},
		conformance.Untestable{ID: "ALB-UPG-10", Reason: needsGroup + "a Lambda function"},
		conformance.Untestable{ID: "ALB-UPG-16", Reason: inLogs + "the line of a tunnel in the access log"},
		conformance.Untestable{ID: "ALB-UPG-17", Reason: inLogs + "the type of a tunnel in the access log"},
		conformance.Untestable{ID: "ALB-KA-01", Reason: "needs a client keep-alive of 60 s, the shortest there is, and the minute that it takes"},
		conformance.Untestable{ID: "ALB-DRN-01", Reason: needsGroup + "a target is deregistered while the balancer runs"},
		conformance.Untestable{ID: "ALB-DRN-02", Reason: needsGroup + "a target is deregistered while the balancer runs"},
		conformance.Untestable{ID: "ALB-ERR-04", Reason: needsGroup + "a target whose host drops what comes, for the 10 s that it takes"},
		conformance.Untestable{ID: "ALB-ERR-07", Reason: inLogs + "460; on the wire there is nothing"},
		conformance.Untestable{ID: "ALB-HC-01", Reason: needsGroup + "health checks on; the check would take them for requests"},
		conformance.Untestable{ID: "ALB-HC-02", Reason: needsGroup + "health checks on, and at 5 s each, the shortest there is, most of a minute"},
		conformance.Untestable{ID: "ALB-HC-03", Reason: needsGroup + "health checks on, and time for them to fail"},
		conformance.Untestable{ID: "ALB-DNS-01", Reason: "needs the name of a balancer whose nodes change: a target is an address"},
		conformance.Untestable{ID: "NLB-TCP-01", Reason: needsNetwork + "a TCP listener"},
		conformance.Untestable{ID: "NLB-TCP-02", Reason: needsNetwork + "a TCP listener and two targets"},
		conformance.Untestable{ID: "NLB-TCP-03", Reason: needsNetwork + "a TCP listener, and an idle timeout of 60 s, the shortest there is"},
		conformance.Untestable{ID: "NLB-TCP-04", Reason: needsNetwork + "a TCP listener, and an idle timeout of 60 s, the shortest there is"},
		conformance.Untestable{ID: "NLB-TCP-05", Reason: needsNetwork + "health checks on"},
		conformance.Untestable{ID: "NLB-PP-01", Reason: needsNetwork + "PROXY protocol on"},
		conformance.Untestable{ID: "NLB-PP-02", Reason: needsNetwork + "traffic from an endpoint of a VPC"},
		conformance.Untestable{ID: "NLB-IP-01", Reason: needsNetwork + "targets by instance and by address on other hosts than the client's"},
		conformance.Untestable{ID: "NLB-TLS-01", Reason: needsNetwork + "a TLS listener"},
		conformance.Untestable{ID: "NLB-TLS-02", Reason: needsNetwork + "TLS listeners with two ALPN policies"},
		conformance.Untestable{ID: "NLB-TLS-03", Reason: needsNetwork + "a TLS listener with an ALPN policy"},
		conformance.Untestable{ID: "NLB-TLS-04", Reason: needsNetwork + "a TLS listener"},
		conformance.Untestable{ID: "NLB-ALB-01", Reason: needsNetwork + "an application load balancer behind it"},
		conformance.Untestable{ID: "CHAIN-01", Reason: "is about three balancers in a row: scenarios/ has the chain, and ALB-UPG-02 and -03 its last part"},
		conformance.Untestable{ID: "CHAIN-02", Reason: "is about another balancer behind the one under test: internal/lab runs that chain"},
		conformance.Untestable{ID: "CHAIN-03", Reason: "is about several balancers in a row: ALB-IDLE-05 says what one of them does"},
		conformance.Untestable{ID: "CHAIN-04", Reason: "is about the target, and a check plays the target: what a balancer has to do with it is ALB-UPG-02"},
	)
}
