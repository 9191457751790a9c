package albsim

// TargetGroup is a set of interchangeable targets.
type TargetGroup struct {
	Name string `json:"name" jsonschema:"required"`
	// Protocol is required but for target type lambda, which has none.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=HTTP,enum=HTTPS"`
	// TargetType is instance when empty.
	TargetType string `json:"target_type,omitempty" jsonschema:"enum=instance,enum=ip,enum=lambda"`
	// ProtocolVersion is HTTP1 when empty. HTTP2 and GRPC go with HTTPS listeners.
	ProtocolVersion string `json:"protocol_version,omitempty" jsonschema:"enum=HTTP1,enum=HTTP2,enum=GRPC"`
	// Targets are host:port, for lambda the URL of an invocation; an empty list answers 503.
	Targets []string `json:"targets"`
	// Attributes are the target group's, by AWS's full key.
	Attributes  map[string]any `json:"attributes,omitempty"`
	HealthCheck HealthCheck    `json:"health_check,omitzero"`
}

// HealthCheck has no checks yet: every target counts as healthy, and enabled: true is refused.
type HealthCheck struct {
	Enabled bool `json:"enabled,omitempty"`
}
