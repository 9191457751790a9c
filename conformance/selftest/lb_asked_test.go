package selftest

import (
	"maps"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// misreads is the simulator whose other instances get another document than was asked for.
func misreads(spoil func(doc *door.Balancer)) func(t *testing.T) conformance.Target {
	return documents(func(_ *testing.T, _, doc *door.Balancer) { spoil(doc) })
}

// forgets leaves an attribute out.
func forgets(key string) func(t *testing.T) conformance.Target {
	return misreads(func(doc *door.Balancer) {
		doc.Attributes = maps.Clone(doc.Attributes)
		delete(doc.Attributes, key)
	})
}

func init() {
	addMutant("ALB-HDR-02", "adds no port", forgets("routing.http.xff_client_port.enabled"))
	addMutant("ALB-HDR-02", "appends whatever the mode", forgets("routing.http.xff_header_processing.mode"))
	addMutant("ALB-HDR-07", "writes Host anew", forgets("routing.http.preserve_host_header.enabled"))
	addMutant("ALB-HDR-12", "says nothing of TLS", forgets("routing.http.x_amzn_tls_version_and_cipher_suite.enabled"))
	addMutant("ALB-HDR-12", "says it unasked", misreads(func(doc *door.Balancer) {
		doc.Attributes = map[string]any{"routing.http.x_amzn_tls_version_and_cipher_suite.enabled": true}
	}))
	addMutant("ALB-TLS-07", "has h2 all the same", forgets("routing.http2.enabled"))
	addMutant("ALB-DES-03", "stays with the default mode", forgets("routing.http.desync_mitigation_mode"))
	for id, instead := range map[string]string{
		"ALB-TLS-11": "ELBSecurityPolicy-TLS13-1-2-2021-06", "ALB-TLS-12": "", "ALB-TLS-13": "ELBSecurityPolicy-TLS13-1-2-2021-06",
		"ALB-TLS-14": "ELBSecurityPolicy-TLS13-1-2-2021-06",
	} {
		addMutant(id, "has another policy", misreads(func(doc *door.Balancer) {
			if doc.SSLPolicy != "" {
				doc.SSLPolicy = instead
			}
		}))
	}
}
