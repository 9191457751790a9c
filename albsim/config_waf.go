package albsim

// WebACL is what AWS WAF would be asked about every request. Of AWS's it has rules that block by one statement each, which is enough
// to see what a block and a failure do to a client; it inspects no body and counts nothing.
type WebACL struct {
	// DefaultAction is for a request that no rule blocks: allow when empty, or block.
	DefaultAction string `json:"default_action,omitempty" jsonschema:"enum=allow,enum=block"`
	// Rules are tried in order.
	Rules []WebACLRule `json:"rules,omitempty"`
	// Unavailable has every question fail, as when the load balancer cannot reach AWS WAF.
	Unavailable bool `json:"unavailable,omitempty"`
}

// WebACLRule blocks what its statement fits: ip_set or byte_match.
type WebACLRule struct {
	Name string `json:"name" jsonschema:"required"`
	// IPSet are CIDR blocks of the TCP peer, whatever X-Forwarded-For says.
	IPSet     []string   `json:"ip_set,omitempty"`
	ByteMatch *ByteMatch `json:"byte_match,omitempty"`
}

// ByteMatch looks for a text in one part of a request. Its case counts, that of a field's name does not.
type ByteMatch struct {
	FieldToMatch string `json:"field_to_match" jsonschema:"required,enum=uri_path,enum=single_header"`
	// SingleHeader is the field's name for single_header.
	SingleHeader         string `json:"single_header,omitempty"`
	SearchString         string `json:"search_string" jsonschema:"required,minLength=1,maxLength=200"`
	PositionalConstraint string `json:"positional_constraint" jsonschema:"required,enum=EXACTLY,enum=STARTS_WITH,enum=ENDS_WITH,enum=CONTAINS"`
}
