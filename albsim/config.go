package albsim

import "path/filepath"

// Config is the simulator's document: DESIGN.md section 5.
type Config struct {
	// Profile is one of Profiles(); aws-alb when empty.
	Profile string `json:"profile,omitempty"`
	// Attributes are AWS's own by their full key, with AWS's defaults; see Attributes().
	Attributes   map[string]any `json:"attributes,omitempty"`
	Listeners    []Listener     `json:"listeners" jsonschema:"required,minItems=1"`
	TargetGroups []TargetGroup  `json:"target_groups" jsonschema:"required"`
	Logs         Logs           `json:"logs,omitzero"`
}

// Listener is one port in front.
type Listener struct {
	// Listen is host:port; port 0 picks one.
	Listen   string `json:"listen" jsonschema:"required"`
	Protocol string `json:"protocol" jsonschema:"required,enum=HTTP,enum=HTTPS"`
	// Certificates are for HTTPS; the first is the default, which answers no SNI and an unknown one.
	Certificates []Certificate `json:"certificates,omitempty"`
	// SSLPolicy is ELBSecurityPolicy-2016-08 when empty, which is what AWS's interface defaults to.
	SSLPolicy            string               `json:"ssl_policy,omitempty"`
	MutualAuthentication MutualAuthentication `json:"mutual_authentication,omitzero"`
	Rules                []Rule               `json:"rules,omitempty"`
	Default              Default              `json:"default" jsonschema:"required"`
}

// Certificate names a PEM certificate chain and its key.
type Certificate struct {
	Cert string `json:"cert" jsonschema:"required"`
	Key  string `json:"key" jsonschema:"required"`
}

// MutualAuthentication is what an HTTPS listener does about client certificates.
type MutualAuthentication struct {
	// Mode is off when empty.
	Mode string `json:"mode,omitempty" jsonschema:"enum=off,enum=passthrough,enum=verify"`
	// TrustStore is the PEM bundle of mode verify.
	TrustStore string `json:"trust_store,omitempty"`
}

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

// WeightedTarget is one share of a forward action.
type WeightedTarget struct {
	TargetGroup string `json:"target_group" jsonschema:"required"`
	Weight      int    `json:"weight" jsonschema:"required,minimum=0,maximum=999"`
}

// Default is the listener's last rule: forward is short for actions with one forward.
type Default struct {
	Forward string   `json:"forward,omitempty"`
	Actions []Action `json:"actions,omitempty"`
}

// TargetGroup is a set of interchangeable targets.
type TargetGroup struct {
	Name     string `json:"name" jsonschema:"required"`
	Protocol string `json:"protocol" jsonschema:"required,enum=HTTP,enum=HTTPS"`
	// ProtocolVersion is HTTP1 when empty, the only one this version has.
	ProtocolVersion string `json:"protocol_version,omitempty" jsonschema:"enum=HTTP1"`
	// Targets are host:port; an empty list answers 503.
	Targets     []string    `json:"targets"`
	HealthCheck HealthCheck `json:"health_check,omitzero"`
}

// HealthCheck has no checks yet: every target counts as healthy, and enabled: true is refused.
type HealthCheck struct {
	Enabled bool `json:"enabled,omitempty"`
}

// Logs are files that are appended to; empty means none.
type Logs struct {
	Access     string `json:"access,omitempty"`
	Connection string `json:"connection,omitempty"`
}

// Resolve makes every relative path of the document relative to dir, the folder of its file.
func (c *Config) Resolve(dir string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		for j := range l.Certificates {
			abs(&l.Certificates[j].Cert)
			abs(&l.Certificates[j].Key)
		}
		abs(&l.MutualAuthentication.TrustStore)
	}
	abs(&c.Logs.Access)
	abs(&c.Logs.Connection)
}
