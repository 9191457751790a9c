package router

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// PingSuffix ends the ALPN of a route whose client wants ping frames inside TLS (RFD 81).
const PingSuffix = "-ping"

// faults collects what is wrong with a document, each with the path of its field.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf(path+": "+format, args...))
}

// oneOf reports a value that is not in the list.
func (f *faults) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.add(path, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
}

func (f faults) err() error { return errors.Join(f...) }

// check looks at everything that can be judged without opening a file. c has its defaults.
func (c Config) check(types []string) faults {
	var f faults
	f.address("listen", c.Listen, true)
	if c.Admin != "" {
		f.address("admin", c.Admin, true)
	}
	if !strings.HasPrefix(c.Upgrade.Path, "/") || strings.ContainsAny(c.Upgrade.Path, "?#% ") {
		f.add("upgrade.path", "%q is not a path such as %s", c.Upgrade.Path, DefaultUpgradePath)
	}
	for i, name := range c.Upgrade.Types {
		path := fmt.Sprintf("upgrade.types[%d]", i)
		f.oneOf(path, name, types...)
		if slices.Contains(c.Upgrade.Types[:i], name) {
			f.add(path, "%q is there twice", name)
		}
	}
	for path, d := range map[string]Duration{
		"upgrade.ping_interval":       c.Upgrade.PingInterval,
		"upgrade.pong_timeout":        c.Upgrade.PongTimeout,
		"limits.client_hello_timeout": c.Limits.ClientHelloTimeout,
		"drain.timeout":               c.Drain.Timeout,
	} {
		if d < 0 {
			f.add(path, "%s is negative", d)
		}
	}
	for path, n := range map[string]int{
		"limits.client_hello_bytes": c.Limits.ClientHelloBytes,
		"limits.connections":        c.Limits.Connections,
		"limits.connections_per_ip": c.Limits.ConnectionsPerIP,
		"limits.header_bytes":       c.Limits.HeaderBytes,
	} {
		if n < 0 {
			f.add(path, "%d is negative", n)
		}
	}
	slices.SortFunc(f, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })

	f.oneOf("proxy_protocol.mode", c.ProxyProtocol.Mode, Off, "optional", "required")
	if c.ProxyProtocol.Mode != Off && len(c.ProxyProtocol.Trusted) == 0 {
		f.add("proxy_protocol.trusted", "mode %s needs at least one trusted network, such as 127.0.0.0/8", c.ProxyProtocol.Mode)
	}
	f.prefixes("proxy_protocol.trusted", c.ProxyProtocol.Trusted)
	f.prefixes("forwarded_for.trusted", c.ForwardedFor.Trusted)

	f.oneOf("tls.min_version", c.TLS.MinVersion, slices.Sorted(maps.Keys(versions))...)
	f.oneOf("tls.session_tickets", c.TLS.SessionTickets, Off, DefaultSessionTickets)
	for i, name := range c.TLS.Curves {
		f.oneOf(fmt.Sprintf("tls.curves[%d]", i), name, slices.Sorted(maps.Keys(curves))...)
	}
	for i, r := range c.Routes {
		f.route(fmt.Sprintf("routes[%d]", i), r, len(c.Certificates) > 0)
	}
	return f
}

// route checks what of an entry the table does not: route.NewTable judges name, sni and alpn.
func (f *faults) route(path string, r Route, certificates bool) {
	f.backend(path+".backend", r.Backend)
	f.oneOf(path+".client_auth.mode", r.ClientAuth.Mode, AuthNone, AuthRequest, AuthRequire)
	f.oneOf(path+".mode", r.Mode, ModeTerminate, ModePassthrough)

	if r.Mode == ModePassthrough {
		if r.ClientAuth.Mode != AuthNone {
			f.add(path+".client_auth.mode", "a passthrough route does not end TLS and cannot ask for a certificate: use mode terminate")
		}
		b := r.Backend
		if b.TLS != Off && b.TLS != StartTLSPostgres {
			f.add(path+".backend.tls", "a passthrough route sends the client's own TLS to the backend: tls must be off, or starttls-postgres, which asks for it first")
		}
		if b.TLS == StartTLSPostgres && b.CA+b.Cert+b.ServerName+b.ALPN != "" {
			f.add(path+".backend.tls", "a passthrough route sends the client's own TLS to the backend: ca, cert, server_name and alpn would not be used")
		}
	}
	if r.Mode == ModePassthrough && len(r.Certificates) > 0 {
		f.add(path+".certificates", "a passthrough route does not end TLS: use mode terminate")
	}
	if r.Mode == ModeTerminate && !certificates && len(r.Certificates) == 0 {
		f.add(path+".mode", "terminate needs an entry in certificates")
	}
	switch {
	case r.ClientAuth.Mode == AuthRequire && r.ClientAuth.CA == "":
		f.add(path+".client_auth.ca", "is required by mode require")
	case r.ClientAuth.Mode == AuthNone && r.ClientAuth.CA != "":
		f.add(path+".client_auth.mode", "a ca without mode request or require would not be used")
	}
}

func (f *faults) backend(path string, b Backend) {
	switch {
	case b.Addresses == nil:
		f.address(path+".address", b.Address, false)
	case b.Address != "":
		f.add(path+".addresses", "address and addresses exclude each other")
	case len(b.Addresses) == 0:
		f.add(path+".addresses", "at least one is required")
	}
	for i, address := range b.Addresses {
		f.address(fmt.Sprintf("%s.addresses[%d]", path, i), address, false)
	}
	for _, d := range []struct {
		name  string
		value Duration
	}{{".dial_timeout", b.DialTimeout}, {".health.interval", b.Health.Interval}} {
		if d.value < 0 {
			f.add(path+d.name, "%s is negative", d.value)
		}
	}
	f.oneOf(path+".tls", b.TLS, Off, TLSOn, StartTLSPostgres, StartTLSMySQL)
	f.oneOf(path+".send_proxy", b.SendProxy, Off, ProxyV1, ProxyV2)
	for _, field := range []struct{ name, value string }{
		{".ca", b.CA}, {".cert", b.Cert}, {".key", b.Key}, {".server_name", b.ServerName}, {".alpn", b.ALPN},
	} {
		if field.value != "" && b.TLS == Off {
			f.add(path+field.name, "needs tls, which is off")
		}
	}
	if (b.Cert == "") != (b.Key == "") {
		f.add(path+".cert", "cert and key go together")
	}
	if len(b.ALPN) > 255 {
		f.add(path+".alpn", "is longer than the 255 bytes of RFC 7301")
	}
}

// address wants host:port, or :port where one listens.
func (f *faults) address(path, address string, listen bool) {
	if address == "" {
		f.add(path, "is required")
		return
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || (host == "" && !listen) {
		f.add(path, "%q is not host:port", address)
		return
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil || (number == 0 && !listen) {
		f.add(path, "%q has no valid port", address)
	}
}

// prefixes parses a list of networks; a bare address is a network of one.
func (f *faults) prefixes(path string, texts []string) []netip.Prefix {
	var list []netip.Prefix
	for i, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			list = append(list, prefix.Masked())
		} else if addr, err := netip.ParseAddr(text); err == nil {
			list = append(list, netip.PrefixFrom(addr, addr.BitLen()))
		} else {
			f.add(fmt.Sprintf("%s[%d]", path, i), "%q is not a network such as 10.0.0.0/8", text)
		}
	}
	return list
}
