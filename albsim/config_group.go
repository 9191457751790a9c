package albsim

// TargetGroup is a set of interchangeable targets.
type TargetGroup struct {
	Name string `json:"name" jsonschema:"required"`
	// Protocol is required but for target type lambda, which has none. TCP and TLS are a network load balancer's.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=HTTP,enum=HTTPS,enum=TCP,enum=TLS"`
	// TargetType is instance when empty. Behind a network load balancer it decides whose address the target sees: the
	// client's (instance, alb) or the balancer's (ip). lambda is an application load balancer's, alb a network load balancer's.
	TargetType string `json:"target_type,omitempty" jsonschema:"enum=instance,enum=ip,enum=lambda,enum=alb"`
	// ProtocolVersion is HTTP1 when empty. HTTP2 and GRPC go with HTTPS listeners.
	ProtocolVersion string `json:"protocol_version,omitempty" jsonschema:"enum=HTTP1,enum=HTTP2,enum=GRPC"`
	// VPCEndpointID makes the PROXY headers of a network load balancer those of connections by a VPC endpoint.
	VPCEndpointID string `json:"vpc_endpoint_id,omitempty"`
	// Targets are host:port, for lambda the URL of an invocation; an empty list answers 503.
	Targets []string `json:"targets"`
	// Attributes are the target group's, by AWS's full key, with AWS's defaults; see GroupAttributes().
	Attributes  map[string]any `json:"attributes,omitempty"`
	HealthCheck HealthCheck    `json:"health_check,omitzero"`
}

// HealthCheck is how targets are checked, in the words of AWS's interface. What is left out has AWS's default.
type HealthCheck struct {
	// Enabled is false when left out, unlike AWS's: every target is then sent requests, in state unavailable.
	Enabled bool `json:"enabled,omitempty"`
	// Protocol is HTTP when empty; behind a network load balancer TCP, which is a connect, but for target type alb.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=HTTP,enum=HTTPS,enum=TCP"`
	// Port is traffic-port when empty: the target's own.
	Port string `json:"port,omitempty"`
	// Path is / when empty, and /AWS.ALB/healthcheck for a group of protocol version GRPC.
	Path string `json:"path,omitempty"`
	// IntervalSeconds is 30 when 0, TimeoutSeconds 5, or behind a network load balancer 10, and 6 for HTTP.
	IntervalSeconds int `json:"interval_seconds,omitempty" jsonschema:"minimum=5,maximum=300"`
	TimeoutSeconds  int `json:"timeout_seconds,omitempty" jsonschema:"minimum=2,maximum=120"`
	// HealthyThresholdCount is 5 when 0, UnhealthyThresholdCount 2.
	HealthyThresholdCount   int     `json:"healthy_threshold_count,omitempty" jsonschema:"minimum=2,maximum=10"`
	UnhealthyThresholdCount int     `json:"unhealthy_threshold_count,omitempty" jsonschema:"minimum=2,maximum=10"`
	Matcher                 Matcher `json:"matcher,omitzero"`
}

// Matcher says which codes a healthy target answers with: values and ranges, as in 200,301-302.
type Matcher struct {
	// HTTPCode is 200 when empty, behind a network load balancer 200-399; from 200 to 499.
	HTTPCode string `json:"http_code,omitempty"`
	// GRPCCode is 12 when empty; from 0 to 99, and only for a group of protocol version GRPC.
	GRPCCode string `json:"grpc_code,omitempty"`
}
