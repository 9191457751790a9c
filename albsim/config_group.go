package albsim

// TargetGroup is a set of interchangeable targets.
type TargetGroup struct {
	Name     string `json:"name" jsonschema:"required"`
	Protocol string `json:"protocol" jsonschema:"required,enum=HTTP,enum=HTTPS"`
	// ProtocolVersion is HTTP1 when empty. HTTP2 and GRPC go with HTTPS listeners.
	ProtocolVersion string `json:"protocol_version,omitempty" jsonschema:"enum=HTTP1,enum=HTTP2,enum=GRPC"`
	// Targets are host:port; an empty list answers 503.
	Targets []string `json:"targets"`
	// Attributes are the target group's, by AWS's full key.
	Attributes  map[string]any `json:"attributes,omitempty"`
	HealthCheck HealthCheck    `json:"health_check,omitzero"`
}

// HealthCheck has no checks yet: every target counts as healthy, and enabled: true is refused.
type HealthCheck struct {
	Enabled bool `json:"enabled,omitempty"`
}
