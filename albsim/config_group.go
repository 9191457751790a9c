package albsim

// TargetGroup is a set of interchangeable targets.
type TargetGroup struct {
	Name     string `json:"name" jsonschema:"required"`
	Protocol string `json:"protocol" jsonschema:"required,enum=HTTP,enum=HTTPS,enum=TCP,enum=TLS"`
	// ProtocolVersion is HTTP1 when empty, the only one this version has.
	ProtocolVersion string `json:"protocol_version,omitempty" jsonschema:"enum=HTTP1"`
	// TargetType is instance when empty. Behind a network load balancer it decides whose address the target sees: the
	// client's (instance, alb) or the balancer's (ip).
	TargetType string `json:"target_type,omitempty" jsonschema:"enum=instance,enum=ip,enum=alb"`
	// VPCEndpointID makes the PROXY headers of a network load balancer those of connections by a VPC endpoint.
	VPCEndpointID string `json:"vpc_endpoint_id,omitempty"`
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
