package lab

import (
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

func TestScenariosOfNetworkLoadBalancersAreChecked(t *testing.T) {
	for _, protocol := range []string{"TCP", "TLS"} {
		text := strings.Replace(small, "load_balancer: {}", "load_balancers: {nlb: {protocol: "+protocol+"}}", 1)
		text = strings.Replace(text, "alb-https", "nlb-"+strings.ToLower(protocol), 1)
		if _, err := scenario.Parse("nlb.yaml", []byte(text), scenario.Vocabulary{Topology: Check}); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
		text = strings.Replace(text, "protocol: "+protocol, "attributes: {idle_timeout.timeout_seconds: 60}, protocol: "+protocol, 1)
		if _, err := scenario.Parse("nlb.yaml", []byte(text), scenario.Vocabulary{Topology: Check}); err == nil {
			t.Errorf("%s: an attribute of application load balancers is taken", protocol)
		}
	}
}
