package albsim

import "slices"

// alpnPolicies are what a TLS listener of a network load balancer selects from, in its order: alb.md section 11 (N-TLS).
// Without overlap there is no ALPN.
var alpnPolicies = map[string][]string{
	"None":           nil,
	"HTTP1Only":      {"http/1.1", "http/1.0"},
	"HTTP2Only":      {"h2"},
	"HTTP2Optional":  {"http/1.1", "http/1.0", "h2"},
	"HTTP2Preferred": {"h2", "http/1.1", "http/1.0"},
}

// ALPNPolicies are the names that alpn_policy may have.
func ALPNPolicies() []string {
	names := make([]string, 0, len(alpnPolicies))
	for name := range alpnPolicies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
