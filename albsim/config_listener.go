package albsim

// Listener is one port in front.
type Listener struct {
	// Listen is host:port; port 0 picks one.
	Listen string `json:"listen" jsonschema:"required"`
	// Nodes are IP addresses, one for each node of the balancer, that go before the port of Listen, which then has no host.
	Nodes []string `json:"nodes,omitempty"`
	// NodesInService is how many of them there are at a time, all when 0; the others wait for a rotation.
	NodesInService int    `json:"nodes_in_service,omitempty"`
	Protocol       string `json:"protocol" jsonschema:"required,enum=HTTP,enum=HTTPS,enum=TCP,enum=TLS"`
	// Certificates are for HTTPS and TLS. The default answers no SNI and an unknown one: the one that says so, or the first.
	Certificates []Certificate `json:"certificates,omitempty"`
	// SSLPolicy is ELBSecurityPolicy-2016-08 when empty, which is what AWS's interface defaults to.
	SSLPolicy string `json:"ssl_policy,omitempty"`
	// ALPNPolicy is for TLS; None when empty.
	ALPNPolicy string `json:"alpn_policy,omitempty" jsonschema:"enum=None,enum=HTTP1Only,enum=HTTP2Only,enum=HTTP2Optional,enum=HTTP2Preferred"`
	// Attributes are the listener's own, by AWS's full key.
	Attributes           map[string]any       `json:"attributes,omitempty"`
	MutualAuthentication MutualAuthentication `json:"mutual_authentication,omitzero"`
	Rules                []Rule               `json:"rules,omitempty"`
	Default              Default              `json:"default" jsonschema:"required"`
}

// Certificate names a PEM certificate chain and its key.
type Certificate struct {
	Cert string `json:"cert" jsonschema:"required"`
	Key  string `json:"key" jsonschema:"required"`
	// Default makes it the listener's default; one can.
	Default bool `json:"default,omitempty"`
}

// MutualAuthentication is what an HTTPS listener does about client certificates. Names and values are those of AWS's API reference for
// MutualAuthenticationAttributes, as of 2026-11; the trust store and its revocations are files here, and ARNs there.
type MutualAuthentication struct {
	// Mode is off when empty.
	Mode string `json:"mode,omitempty" jsonschema:"enum=off,enum=passthrough,enum=verify"`
	// TrustStore is the PEM bundle of mode verify.
	TrustStore string `json:"trust_store,omitempty"`
	// Revocations are PEM files of certificate revocation lists, of the trust store.
	Revocations []string `json:"revocations,omitempty"`
	// IgnoreClientCertificateExpiry lets certificates pass in mode verify that have expired.
	IgnoreClientCertificateExpiry bool `json:"ignore_client_certificate_expiry,omitempty"`
	// AdvertiseTrustStoreCANames puts the trust store's names into the CertificateRequest: off when empty.
	AdvertiseTrustStoreCANames string `json:"advertise_trust_store_ca_names,omitempty" jsonschema:"enum=off,enum=on"`
}

// Default is the listener's last rule: forward is short for actions with one forward.
type Default struct {
	Forward string   `json:"forward,omitempty"`
	Actions []Action `json:"actions,omitempty"`
}
