package router

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Config is the router's document (DESIGN.md, section 5). The zero value of a field is its default, which the field's
// comment names; [New] fills the defaults in, so /config shows the document in force.
type Config struct {
	// Listen is the address of the one port, host:port; port 0 picks one.
	Listen string `json:"listen" jsonschema:"required"`
	// Admin is where /healthz, /readyz, /metrics and /config are served over plaintext HTTP; empty turns it off.
	Admin string `json:"admin,omitempty"`
	// Certificates are chosen by SNI; the first is the default. A terminate route needs at least one.
	Certificates []Certificate `json:"certificates,omitempty"`
	TLS          TLS           `json:"tls,omitzero"`
	Upgrade      Upgrade       `json:"upgrade"`
	// Routes are matched by SNI first (exact, then the longest prefix, then the longest wildcard), then by ALPN in the client's order.
	Routes []Route `json:"routes,omitempty"`
	// Plaintext says what becomes of streams that begin with neither TLS nor HTTP; what is left out is closed.
	Plaintext     Plaintext     `json:"plaintext,omitzero"`
	ProxyProtocol ProxyProtocol `json:"proxy_protocol"`
	ForwardedFor  ForwardedFor  `json:"forwarded_for"`
	Limits        Limits        `json:"limits"`
	Drain         Drain         `json:"drain"`
}

// Certificate is a PEM certificate chain and its key.
type Certificate struct {
	Cert string `json:"cert" jsonschema:"required"`
	Key  string `json:"key" jsonschema:"required"`
}

// TLS is what the router accepts where it ends TLS: on its own endpoint and on terminate routes.
type TLS struct {
	// MinVersion is 1.2 (the default) or 1.3.
	MinVersion string `json:"min_version,omitempty" jsonschema:"enum=1.2,enum=1.3"`
	// Curves are the key exchanges that are accepted, with or without ML-KEM; the defaults of crypto/tls, which has both, when left
	// out. The order means nothing. The ML-KEM hybrids exist in TLS 1.3 only.
	Curves []string `json:"curves,omitempty" jsonschema:"enum=X25519MLKEM768,enum=SecP256r1MLKEM768,enum=SecP384r1MLKEM1024,enum=X25519,enum=P-256,enum=P-384,enum=P-521"`
	// SessionTickets is on (the default) or off. Where a route asks for a client certificate there are none.
	SessionTickets string `json:"session_tickets,omitempty" jsonschema:"enum=off,enum=on"`
}

// Upgrade is the HTTP endpoint that turns a connection into a tunnel.
type Upgrade struct {
	// Path defaults to /webapi/connectionupgrade.
	Path string `json:"path,omitempty" jsonschema:"pattern=^/"`
	// Types are the tokens that are taken: websocket, alpn, alpn-ping. All of them when left out; [] takes none.
	Types []string `json:"types,omitzero" jsonschema:"enum=websocket,enum=alpn,enum=alpn-ping"`
	// PingInterval defaults to 30s, half the idle timeout of an AWS ALB. Each interval is drawn from 0.8 to 1.0 of it.
	PingInterval Duration `json:"ping_interval,omitempty"`
	// PongTimeout defaults to 5m: a WebSocket client that answers no ping for so long is dead, unless a byte moves in either direction or a
	// write waits for it. Some clients answer only while their application reads; alpn-ping has no answer and is left alone.
	PongTimeout Duration `json:"pong_timeout,omitempty"`
	// RequireConnection refuses custom tokens without "Connection: upgrade" with 400. By default they are taken, since an AWS ALB strips
	// the field; websocket needs it always.
	RequireConnection bool `json:"require_connection,omitempty"`
}

// Route leads a name and an ALPN to a backend.
type Route struct {
	Name string `json:"name" jsonschema:"required"`
	// SNI left out matches any name and none; *.example.test matches the names below it, kube.* those that begin so.
	SNI []string `json:"sni,omitempty"`
	// ALPN left out matches any list and none; teleport-auth@* matches the names that begin so.
	ALPN []string `json:"alpn,omitempty"`
	// Mode says what happens to TLS: terminate or passthrough.
	Mode       string     `json:"mode" jsonschema:"required,enum=terminate,enum=passthrough"`
	ClientAuth ClientAuth `json:"client_auth"`
	// Certificates stand in for those of the document on this terminate route, such as the one that answers acme-tls/1.
	Certificates []Certificate `json:"certificates,omitempty"`
	Backend      Backend       `json:"backend" jsonschema:"required"`
}

// The values of Route.Mode.
const (
	ModeTerminate   = "terminate"
	ModePassthrough = "passthrough"
)

// ClientAuth is what a terminate route asks of the client's certificate.
type ClientAuth struct {
	// Mode is none (the default), request or require. A certificate that comes is verified when there is a CA.
	Mode string `json:"mode,omitempty" jsonschema:"enum=none,enum=request,enum=require"`
	// CA is a PEM bundle; require needs it.
	CA string `json:"ca,omitempty"`
}

// The values of ClientAuth.Mode.
const (
	AuthNone    = "none"
	AuthRequest = "request"
	AuthRequire = "require"
)

// Backend is where a route leads: one address, or several that take over from each other.
type Backend struct {
	// Address is host:port.
	Address string `json:"address,omitempty" jsonschema:"anyof_required=address"`
	// Addresses, instead of address, are tried in this order until one is reached. One that failed is tried last for 10s. There is no
	// going on to the next once a byte of the client's has been sent.
	Addresses []string `json:"addresses,omitempty" jsonschema:"anyof_required=addresses"`
	// DialTimeout bounds the way to the backend, 10s by default: TCP, PROXY header and TLS, over all addresses. Each attempt gets an
	// equal share of what is left of it.
	DialTimeout Duration `json:"dial_timeout,omitempty"`
	Health      Health   `json:"health,omitzero"`
	// TLS is off (the default), on, starttls-postgres (an SSLRequest first) or starttls-mysql (the greeting, then an SSLRequest). On a
	// passthrough route starttls-postgres sends the SSLRequest, and what follows is the client's own TLS.
	TLS string `json:"tls,omitempty" jsonschema:"enum=off,enum=on,enum=starttls-postgres,enum=starttls-mysql"`
	// CA is a PEM bundle that verifies the backend's certificate, in place of the roots that the program was started with.
	CA string `json:"ca,omitempty"`
	// Cert and Key are the router's own certificate, for a backend that asks for one.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// ServerName is sent as SNI and looked for in the certificate; the host of the address when left out.
	ServerName string `json:"server_name,omitempty"`
	// ALPN is offered, and a backend that does not confirm it is not used. When left out, what was confirmed to the client is offered
	// if it is h2 or http/1.1 and tls is on, and nothing otherwise.
	ALPN string `json:"alpn,omitempty"`
	// SendProxy puts a PROXY header of that version before everything else: off (the default), v1 or v2.
	SendProxy string `json:"send_proxy,omitempty" jsonschema:"enum=off,enum=v1,enum=v2"`
}

// Health is the active check of a backend's addresses.
type Health struct {
	// Interval between two TCP connections to each address; 0, the default, checks nothing. An address that cannot be connected to is
	// tried last until it can. MySQL counts such connections as errors and blocks their host after max_connect_errors of them in a row.
	Interval Duration `json:"interval,omitempty"`
}

// The values of Backend.TLS and Backend.SendProxy.
const (
	Off              = "off"
	TLSOn            = "on"
	StartTLSPostgres = "starttls-postgres"
	StartTLSMySQL    = "starttls-mysql"
	ProxyV1          = "v1"
	ProxyV2          = "v2"
)

// Plaintext leads what begins with neither TLS nor HTTP to a route, by the route's name.
type Plaintext struct {
	// Postgres is the route of PostgreSQL clients: an SSLRequest is answered, and the ClientHello behind it is routed as any other, to
	// this route when it carries no name or an own one. A CancelRequest without TLS goes there too. The route takes ALPN postgresql.
	Postgres string `json:"postgres,omitempty"`
	// SSH is the route of clients that begin with an SSH banner.
	SSH string `json:"ssh,omitempty"`
	// ServerFirst is the route of clients that wait for the server, such as those of MySQL.
	ServerFirst ServerFirst `json:"server_first,omitzero"`
}

// ServerFirst is where a connection goes whose client says nothing.
type ServerFirst struct {
	Route string `json:"route" jsonschema:"required"`
	// After is how long the client must have been silent, 300ms by default.
	After Duration `json:"after,omitempty"`
}

// ProxyProtocol says whether connections begin with a PROXY header.
type ProxyProtocol struct {
	// Mode is off (the default: a header is an unknown opener), optional or required.
	Mode string `json:"mode,omitempty" jsonschema:"enum=off,enum=optional,enum=required"`
	// Trusted are the networks whose headers count. With none, no peer's does, and required lets nobody in.
	Trusted []string `json:"trusted,omitempty"`
}

// ForwardedFor says whose X-Forwarded-For is believed: the rightmost address that is not itself trusted is the source.
type ForwardedFor struct {
	Trusted []string `json:"trusted,omitempty"`
}

// Limits bound what a stranger can cost. A zero of the first three and of header_bytes is the default.
type Limits struct {
	// ClientHelloTimeout defaults to 10s; see the package comment for what else it bounds.
	ClientHelloTimeout Duration `json:"client_hello_timeout,omitempty"`
	// ClientHelloBytes defaults to 65536.
	ClientHelloBytes int `json:"client_hello_bytes,omitempty" jsonschema:"minimum=0"`
	// Connections open at once; 0 is no limit. One too many is closed at once.
	Connections int `json:"connections,omitempty" jsonschema:"minimum=0"`
	// ConnectionsPerIP counts the TCP peer, or the PROXY header's source where one is read; 0 is no limit.
	ConnectionsPerIP int `json:"connections_per_ip,omitempty" jsonschema:"minimum=0"`
	// HeaderBytes bounds the header of an HTTP request, 32768 by default.
	HeaderBytes int `json:"header_bytes,omitempty" jsonschema:"minimum=0"`
}

// Drain is how a stop treats the tunnels that are open.
type Drain struct {
	// Timeout is how long they may live on, 30s by default.
	Timeout Duration `json:"timeout,omitempty"`
}

// Duration is a time, written in the document as in Go: "500ms", "30s", "1m30s".
type Duration time.Duration

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads a duration string; a bare number is refused, as its unit would be a guess.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration %s: want a string such as \"30s\"", data)
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q: want a string such as \"30s\"", text)
	}
	*d = Duration(value)
	return nil
}

// String is the duration as in the document.
func (d Duration) String() string { return time.Duration(d).String() }

// The defaults of the document.
const (
	DefaultUpgradePath        = "/webapi/connectionupgrade"
	DefaultPingInterval       = 30 * time.Second
	DefaultPongTimeout        = 5 * time.Minute
	DefaultClientHelloTimeout = 10 * time.Second
	DefaultClientHelloBytes   = 64 << 10
	DefaultHeaderBytes        = 32 << 10
	DefaultDrainTimeout       = 30 * time.Second
	DefaultDialTimeout        = 10 * time.Second
	DefaultMinVersion         = "1.2"
	DefaultSessionTickets     = "on"
	DefaultServerFirst        = 300 * time.Millisecond
)

// Resolve makes the relative paths in the document relative to dir, the folder of the file it came from.
func (c *Config) Resolve(dir string) {
	resolve := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	pairs := func(list []Certificate) {
		for i := range list {
			resolve(&list[i].Cert)
			resolve(&list[i].Key)
		}
	}
	pairs(c.Certificates)
	for i := range c.Routes {
		r := &c.Routes[i]
		resolve(&r.ClientAuth.CA)
		pairs(r.Certificates)
		resolve(&r.Backend.CA)
		resolve(&r.Backend.Cert)
		resolve(&r.Backend.Key)
	}
}

// clone is a deep copy, so that a caller who goes on editing its document does not edit ours.
func (c Config) clone() Config {
	c.Certificates = slices.Clone(c.Certificates)
	c.TLS.Curves = slices.Clone(c.TLS.Curves)
	c.Upgrade.Types = slices.Clone(c.Upgrade.Types)
	c.Routes = slices.Clone(c.Routes)
	for i := range c.Routes {
		c.Routes[i].SNI = slices.Clone(c.Routes[i].SNI)
		c.Routes[i].ALPN = slices.Clone(c.Routes[i].ALPN)
		c.Routes[i].Certificates = slices.Clone(c.Routes[i].Certificates)
		c.Routes[i].Backend.Addresses = slices.Clone(c.Routes[i].Backend.Addresses)
	}
	c.ProxyProtocol.Trusted = slices.Clone(c.ProxyProtocol.Trusted)
	c.ForwardedFor.Trusted = slices.Clone(c.ForwardedFor.Trusted)
	return c
}

// withDefaults is a copy with every field that was left out filled in. types are the upgrade types that exist.
func (c Config) withDefaults(types []string) Config {
	c = c.clone()
	setDefault(&c.TLS.MinVersion, DefaultMinVersion)
	setDefault(&c.TLS.SessionTickets, DefaultSessionTickets)
	setDefault(&c.Upgrade.Path, DefaultUpgradePath)
	if c.Upgrade.Types == nil {
		c.Upgrade.Types = slices.Clone(types)
	}
	setDefault(&c.Upgrade.PingInterval, Duration(DefaultPingInterval))
	setDefault(&c.Upgrade.PongTimeout, Duration(DefaultPongTimeout))
	for i := range c.Routes {
		setDefault(&c.Routes[i].ClientAuth.Mode, AuthNone)
		setDefault(&c.Routes[i].Backend.DialTimeout, Duration(DefaultDialTimeout))
		setDefault(&c.Routes[i].Backend.TLS, Off)
		setDefault(&c.Routes[i].Backend.SendProxy, Off)
	}
	if c.Plaintext.ServerFirst.Route != "" {
		setDefault(&c.Plaintext.ServerFirst.After, Duration(DefaultServerFirst))
	}
	setDefault(&c.ProxyProtocol.Mode, Off)
	setDefault(&c.Limits.ClientHelloTimeout, Duration(DefaultClientHelloTimeout))
	setDefault(&c.Limits.ClientHelloBytes, DefaultClientHelloBytes)
	setDefault(&c.Limits.HeaderBytes, DefaultHeaderBytes)
	setDefault(&c.Drain.Timeout, Duration(DefaultDrainTimeout))
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
