package door

import "slices"

// The features of a load balancer by which the optional fields of its document are asked for: see [Balancer.Needs].
const (
	FeatureAttributes      = "alb-attributes"
	FeaturePolicy          = "alb-ssl-policy"
	FeatureMutual          = "alb-mutual-tls"
	FeatureRules           = "alb-rules"
	FeatureGroups          = "alb-target-groups"
	FeatureGroupAttributes = "alb-target-group-attributes"
	FeatureVersion         = "alb-protocol-version"
)

// Balancer is the document of a load balancer. Listen to Require are what any of them has. Each of the others is sent only to one that claims
// its feature; its words and values are AWS's own, as in the simulator's document (DESIGN.md section 5). A value that the product does not
// have, such as an attribute, is answered with "unsupported".
type Balancer struct {
	Listen       string           `json:"listen"`
	Certificates []Certificate    `json:"certificates,omitempty"`
	Targets      []BalancerTarget `json:"targets"`
	IdleTimeout  string           `json:"idle_timeout,omitempty"`
	Require      []string         `json:"require,omitempty"`

	// Attributes are the load balancer's, by AWS's full key.
	Attributes map[string]any `json:"attributes,omitempty"`
	// SSLPolicy is a security policy of AWS's by name.
	SSLPolicy            string                `json:"ssl_policy,omitempty"`
	MutualAuthentication *MutualAuthentication `json:"mutual_authentication,omitempty"`
	// Rules are the listener's. What meets none of them goes to Targets.
	Rules []Rule `json:"rules,omitempty"`
	// TargetGroups are others than that of Targets, for rules to lead to.
	TargetGroups []TargetGroup `json:"target_groups,omitempty"`
	// TargetGroupAttributes are those of the group of Targets, by AWS's full key.
	TargetGroupAttributes map[string]any `json:"target_group_attributes,omitempty"`
	// ProtocolVersion of the group of Targets is HTTP1 when empty, or HTTP2 or GRPC.
	ProtocolVersion string `json:"protocol_version,omitempty"`
}

// BalancerTarget is where requests go; it is not verified.
type BalancerTarget struct {
	Address string `json:"address"`
	TLS     bool   `json:"tls"`
}

// MutualAuthentication is off, passthrough or verify, which goes with a PEM bundle of authorities.
type MutualAuthentication struct {
	Mode       string `json:"mode"`
	TrustStore string `json:"trust_store,omitempty"`
}

// Rule is tried before those of a higher priority number.
type Rule struct {
	Priority   int         `json:"priority"`
	Conditions []Condition `json:"conditions"`
	Actions    []Action    `json:"actions"`
}

// Condition is met when any value matches. Field is path-pattern, host-header, http-header, http-request-method, query-string or source-ip.
type Condition struct {
	Field          string   `json:"field"`
	HTTPHeaderName string   `json:"http_header_name,omitempty"`
	Values         []string `json:"values"`
}

// Action is a forward, a redirect or a fixed-response. TargetGroup and TargetGroups are names of [Balancer.TargetGroups].
type Action struct {
	Type         string          `json:"type"`
	TargetGroup  string          `json:"target_group,omitempty"`
	TargetGroups []WeightedGroup `json:"target_groups,omitempty"`
	// Stickiness keeps a client with the group that it came to first.
	Stickiness *GroupStickiness `json:"target_group_stickiness_config,omitempty"`
	// StatusCode is for redirect and fixed-response, the two behind it for the latter.
	StatusCode  int    `json:"status_code,omitempty"`
	ContentType string `json:"content_type,omitempty"`
	MessageBody string `json:"message_body,omitempty"`
	// Of redirect, with #{protocol} and so on; what is left out stays as it is.
	Protocol string  `json:"protocol,omitempty"`
	Host     string  `json:"host,omitempty"`
	Port     string  `json:"port,omitempty"`
	Path     string  `json:"path,omitempty"`
	Query    *string `json:"query,omitempty"`
}

// WeightedGroup is one share of a forward.
type WeightedGroup struct {
	TargetGroup string `json:"target_group"`
	Weight      int    `json:"weight"`
}

// GroupStickiness is part of a forward to several groups.
type GroupStickiness struct {
	Enabled         bool `json:"enabled"`
	DurationSeconds int  `json:"duration_seconds,omitempty"`
}

// TargetGroup is a group that rules lead to.
type TargetGroup struct {
	Name    string           `json:"name"`
	Targets []BalancerTarget `json:"targets"`
}

// Copy is the document with lists of its own, and a Listen that picks a port.
func (b Balancer) Copy() Balancer {
	b.Listen = "127.0.0.1:0"
	b.Certificates, b.Targets = slices.Clone(b.Certificates), slices.Clone(b.Targets)
	return b
}

// Needs are the features without which a load balancer is not sent this document.
func (b Balancer) Needs() []string {
	var needs []string
	for _, f := range []struct {
		feature string
		asked   bool
	}{
		{FeatureAttributes, len(b.Attributes) > 0},
		{FeaturePolicy, b.SSLPolicy != ""},
		{FeatureMutual, b.MutualAuthentication != nil},
		{FeatureRules, len(b.Rules) > 0},
		{FeatureGroups, len(b.TargetGroups) > 0},
		{FeatureGroupAttributes, len(b.TargetGroupAttributes) > 0},
		{FeatureVersion, b.ProtocolVersion != ""},
	} {
		if f.asked {
			needs = append(needs, f.feature)
		}
	}
	return needs
}
