package albsim

// Rule is tried before those of a higher priority number.
type Rule struct {
	Priority   int         `json:"priority" jsonschema:"required,minimum=1,maximum=50000"`
	Conditions []Condition `json:"conditions" jsonschema:"required,minItems=1"`
	Actions    []Action    `json:"actions" jsonschema:"required,minItems=1"`
	// Transforms change what the target of a forward sees, once the rule is met: at most one of each type.
	Transforms []Transform `json:"transforms,omitempty" jsonschema:"maxItems=2"`
}

// Condition is met when any of its values or regular expressions matches.
type Condition struct {
	Field string `json:"field" jsonschema:"required,enum=path-pattern,enum=host-header,enum=http-header,enum=http-request-method,enum=query-string,enum=source-ip"`
	// HTTPHeaderName is the field that http-header looks at.
	HTTPHeaderName string `json:"http_header_name,omitempty"`
	// Values are patterns with * and ?; for query-string key=value or a value of any key, for source-ip a CIDR block.
	Values []string `json:"values,omitempty"`
	// RegexValues are regular expressions, for host-header, path-pattern and http-header: those of RE2, which match anywhere in the
	// text unless anchored. A host is matched in lower case; for the others case counts.
	RegexValues []string `json:"regex_values,omitempty"`
}

// Transform rewrites one thing of a request.
type Transform struct {
	Type string `json:"type" jsonschema:"required,enum=host-header-rewrite,enum=url-rewrite"`
	// HostHeaderRewriteConfig goes with host-header-rewrite. Its text is the host in lower case, without a port.
	HostHeaderRewriteConfig *Rewrites `json:"host_header_rewrite_config,omitempty"`
	// URLRewriteConfig goes with url-rewrite. Its text is the path, and the query behind a question mark if there is one.
	URLRewriteConfig *Rewrites `json:"url_rewrite_config,omitempty"`
}

// Rewrites is a list of one, as AWS's interface has it.
type Rewrites struct {
	Rewrites []Rewrite `json:"rewrites" jsonschema:"required,minItems=1,maxItems=1"`
}

// Rewrite puts Replace in the place of the first match of Regex; a text without a match stays.
type Rewrite struct {
	Regex string `json:"regex" jsonschema:"required,minLength=1,maxLength=1024"`
	// Replace may hold $1 to $9, what the groups of the expression have matched; $0 is the whole match.
	Replace string `json:"replace" jsonschema:"required,maxLength=1024"`
}

// Action is what a rule does, or what it does first.
type Action struct {
	// Type of a rule's last action is forward, redirect or fixed-response; one of the others may stand in front of it.
	Type string `json:"type" jsonschema:"required,enum=forward,enum=redirect,enum=fixed-response,enum=authenticate-oidc,enum=authenticate-cognito,enum=jwt-validation"`
	// The action's own, by its type; an HTTPS listener alone has them.
	AuthenticateOIDCConfig    *AuthenticateOIDC    `json:"authenticate_oidc_config,omitempty"`
	AuthenticateCognitoConfig *AuthenticateCognito `json:"authenticate_cognito_config,omitempty"`
	JWTValidationConfig       *JWTValidation       `json:"jwt_validation_config,omitempty"`
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
