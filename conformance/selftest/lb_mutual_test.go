package selftest

import (
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// mutualAs has another mode of mutual TLS where one is asked for, "" for none.
func mutualAs(mode string) func(t *testing.T) conformance.Target {
	return misreads(func(doc *door.Balancer) {
		switch {
		case doc.MutualAuthentication == nil:
		case mode == "":
			doc.MutualAuthentication = nil
		case mode == "verify": // any certificate will do for a trust store
			doc.MutualAuthentication = &door.MutualAuthentication{Mode: mode, TrustStore: doc.Certificates[0].Cert}
		default:
			doc.MutualAuthentication = &door.MutualAuthentication{Mode: mode}
		}
	})
}

func init() {
	addMutant("ALB-MTLS-02", "asks for no certificate", mutualAs(""))
	addMutant("ALB-MTLS-02", "verifies", mutualAs("verify"))
	addMutant("ALB-MTLS-03", "insists", mutualAs("verify"))
	addMutant("ALB-MTLS-04", "passes the chain on in place of verifying", mutualAs("passthrough"))
	addMutant("ALB-MTLS-05", "asks and does not insist", mutualAs("passthrough"))
	addMutant("ALB-MTLS-05", "asks for no certificate", mutualAs(""))
	addMutant("ALB-MTLS-06", "does not verify", mutualAs("passthrough"))
	addMutant("ALB-MTLS-08", "has sessions as without mutual TLS", mutualAs(""))
}
