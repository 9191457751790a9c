// Package door is the way in for strangers (DESIGN.md section 7): what an implementation under test is told and asked, whatever language it
// is written in. A document says how it is to be set up, an [Adapter] is a program that does so, and [Serve] is the other side for
// adapters written in Go.
package door

// Router is the document of a router (DESIGN.md section 5): what any router has, in the shape that ours reads. Times are strings such as
// "10s". Files are named by absolute paths.
type Router struct {
	Listen        string        `json:"listen"`
	Admin         string        `json:"admin,omitempty"`
	Certificates  []Certificate `json:"certificates,omitempty"`
	Upgrade       Upgrade       `json:"upgrade"`
	Routes        []Route       `json:"routes,omitempty"`
	ProxyProtocol Trust         `json:"proxy_protocol"`
	ForwardedFor  Trust         `json:"forwarded_for"`
	Limits        Limits        `json:"limits"`
	Drain         Drain         `json:"drain"`
	// Plaintext is for a router that claims the feature "postgres", "ssh" or "mysql".
	Plaintext *Plaintext `json:"plaintext,omitempty"`
	// Require names features that the instance must have; an adapter that does not know one of them answers "unsupported".
	Require []string `json:"require,omitempty"`
}

// Certificate is a PEM chain and its key.
type Certificate struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Upgrade is the HTTP endpoint. Types left out are all that the router has; empty ones are none.
type Upgrade struct {
	Path         string   `json:"path,omitempty"`
	Types        []string `json:"types,omitzero"`
	PingInterval string   `json:"ping_interval,omitempty"`
	PongTimeout  string   `json:"pong_timeout,omitempty"`
}

// Route leads a name and an ALPN to a backend.
type Route struct {
	Name       string     `json:"name"`
	SNI        []string   `json:"sni,omitempty"`
	ALPN       []string   `json:"alpn,omitempty"`
	Mode       string     `json:"mode"` // terminate or passthrough
	ClientAuth ClientAuth `json:"client_auth"`
	Backend    Backend    `json:"backend"`
}

// ClientAuth is none, request or require, and the authority that verifies.
type ClientAuth struct {
	Mode string `json:"mode,omitempty"`
	CA   string `json:"ca,omitempty"`
}

// Backend is where a route leads. TLS is off or on, or starttls-postgres or starttls-mysql; SendProxy off, v1 or v2.
type Backend struct {
	Address    string `json:"address"`
	TLS        string `json:"tls,omitempty"`
	CA         string `json:"ca,omitempty"`
	ServerName string `json:"server_name,omitempty"`
	ALPN       string `json:"alpn,omitempty"`
	SendProxy  string `json:"send_proxy,omitempty"`
}

// Trust says whose word about source addresses counts. Mode is for the PROXY protocol: off, optional or required.
type Trust struct {
	Mode    string   `json:"mode,omitempty"`
	Trusted []string `json:"trusted,omitempty"`
}

// Limits bound what a stranger can take; 0 is the router's default, for connections none.
type Limits struct {
	ClientHelloTimeout string `json:"client_hello_timeout,omitempty"`
	ClientHelloBytes   int    `json:"client_hello_bytes,omitempty"`
	Connections        int    `json:"connections,omitempty"`
	ConnectionsPerIP   int    `json:"connections_per_ip,omitempty"`
	HeaderBytes        int    `json:"header_bytes,omitempty"`
}

// Drain bounds how long tunnels live on.
type Drain struct {
	Timeout string `json:"timeout,omitempty"`
}

// Plaintext says to which routes streams go that begin with neither TLS nor HTTP.
type Plaintext struct {
	Postgres    string       `json:"postgres,omitempty"`
	SSH         string       `json:"ssh,omitempty"`
	MySQL       string       `json:"mysql,omitempty"`
	SMTP        string       `json:"smtp,omitempty"`
	ServerFirst *ServerFirst `json:"server_first,omitempty"`
}

// ServerFirst is for protocols in which the server speaks first.
type ServerFirst struct {
	Route string `json:"route"`
	After string `json:"after,omitempty"`
}
