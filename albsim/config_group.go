package albsim

// TargetGroup is a set of interchangeable targets.
type TargetGroup struct {
	Name     string `json:"name" jsonschema:"required"`
	Protocol string `json:"protocol" jsonschema:"required,enum=HTTP,enum=HTTPS"`
	// ProtocolVersion is HTTP1 when empty, the only one this version has.
	ProtocolVersion string `json:"protocol_version,omitempty" jsonschema:"enum=HTTP1"`
	// Targets are host:port; an empty list answers 503.
	Targets []string `json:"targets"`
	// Attributes are the target group's, by AWS's full key, with AWS's defaults; see GroupAttributes().
	Attributes  map[string]any `json:"attributes,omitempty"`
	HealthCheck HealthCheck    `json:"health_check,omitzero"`
}

// HealthCheck is how targets are checked, in the words of AWS's interface. What is left out has AWS's default.
type HealthCheck struct {
	// Enabled is false when left out, unlike AWS's: every target is then sent requests, in state unavailable.
	Enabled bool `json:"enabled,omitempty"`
	// Protocol is HTTP when empty.
	Protocol string `json:"protocol,omitempty" jsonschema:"enum=HTTP,enum=HTTPS"`
	// Port is traffic-port when empty: the target's own.
	Port string `json:"port,omitempty"`
	// Path is / when empty, and /AWS.ALB/healthcheck for a group of protocol version GRPC.
	Path string `json:"path,omitempty"`
	// IntervalSeconds is 30 when 0, TimeoutSeconds 5.
	IntervalSeconds int `json:"interval_seconds,omitempty" jsonschema:"minimum=5,maximum=300"`
	TimeoutSeconds  int `json:"timeout_seconds,omitempty" jsonschema:"minimum=2,maximum=120"`
	// HealthyThresholdCount is 5 when 0, UnhealthyThresholdCount 2.
	HealthyThresholdCount   int     `json:"healthy_threshold_count,omitempty" jsonschema:"minimum=2,maximum=10"`
	UnhealthyThresholdCount int     `json:"unhealthy_threshold_count,omitempty" jsonschema:"minimum=2,maximum=10"`
	Matcher                 Matcher `json:"matcher,omitzero"`
}

// Matcher says which codes a healthy target answers with: values and ranges, as in 200,301-302.
type Matcher struct {
	// HTTPCode is 200 when empty; from 200 to 499.
	HTTPCode string `json:"http_code,omitempty"`
	// GRPCCode is 12 when empty; from 0 to 99, and only for a group of protocol version GRPC.
	GRPCCode string `json:"grpc_code,omitempty"`
}
