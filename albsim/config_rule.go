package albsim

// Rule is tried before those of a higher priority number.
type Rule struct {
	Priority   int         `json:"priority" jsonschema:"required,minimum=1,maximum=50000"`
	Conditions []Condition `json:"conditions" jsonschema:"required,minItems=1"`
	Actions    []Action    `json:"actions" jsonschema:"required,minItems=1"`
}

// Condition is met when any of its values matches.
type Condition struct {
	Field string `json:"field" jsonschema:"required,enum=path-pattern,enum=host-header,enum=http-header,enum=http-request-method,enum=query-string,enum=source-ip"`
	// HTTPHeaderName is the field that http-header looks at.
	HTTPHeaderName string `json:"http_header_name,omitempty"`
	// Values are patterns with * and ?; for query-string key=value or a value of any key, for source-ip a CIDR block.
	Values []string `json:"values" jsonschema:"required,minItems=1"`
}

// Action is what a rule does.
type Action struct {
	Type string `json:"type" jsonschema:"required,enum=forward,enum=redirect,enum=fixed-response"`
	// TargetGroup is where forward leads; TargetGroups spreads it by weight.
	TargetGroup  string           `json:"target_group,omitempty"`
	TargetGroups []WeightedTarget `json:"target_groups,omitempty" jsonschema:"maxItems=5"`
	// TargetGroupStickiness keeps a client with the target group that it came to first, by the cookie AWSALBTG.
	TargetGroupStickiness TargetGroupStickiness `json:"target_group_stickiness_config,omitzero"`
	// StatusCode is for redirect (301 or 302) and fixed-response (2XX, 4XX, 5XX).
	StatusCode  int    `json:"status_code,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	MessageBody string `json:"message_body,omitempty"`
	// Protocol, Host, Port, Path and Query are for redirect and may hold #{protocol} #{host} #{port} #{path} #{query}.
	// Empty means unchanged, as in AWS's interface; a query of its own replaces the request's.
	Protocol string  `json:"protocol,omitempty"`
	Host     string  `json:"host,omitempty"`
	Port     string  `json:"port,omitempty"`
	Path     string  `json:"path,omitempty"`
	Query    *string `json:"query,omitempty"`
}

// TargetGroupStickiness is part of a forward action.
type TargetGroupStickiness struct {
	Enabled bool `json:"enabled"`
	// DurationSeconds is how long a cookie counts; it goes with enabled.
	DurationSeconds int `json:"duration_seconds,omitempty" jsonschema:"minimum=1,maximum=604800"`
}

// WeightedTarget is one share of a forward action.
type WeightedTarget struct {
	TargetGroup string `json:"target_group" jsonschema:"required"`
	Weight      int    `json:"weight" jsonschema:"required,minimum=0,maximum=999"`
}
