package router

import (
	"errors"
	"fmt"
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

	for i, r := range c.Routes {
		f.route(fmt.Sprintf("routes[%d]", i), r, len(c.Certificates) > 0)
	}
	return f
}

// route checks what of an entry the table does not: route.NewTable judges name, sni and alpn.
func (f *faults) route(path string, r Route, certificates bool) {
	f.address(path+".backend.address", r.Backend.Address, false)
	f.oneOf(path+".backend.tls", r.Backend.TLS, Off, TLSOn, StartTLSPostgres)
	f.oneOf(path+".backend.send_proxy", r.Backend.SendProxy, Off, ProxyV1, ProxyV2)
	f.oneOf(path+".client_auth.mode", r.ClientAuth.Mode, AuthNone, AuthRequest, AuthRequire)
	f.oneOf(path+".mode", r.Mode, ModeTerminate, ModePassthrough)

	if r.Mode == ModePassthrough {
		if r.ClientAuth.Mode != AuthNone {
			f.add(path+".client_auth.mode", "a passthrough route does not end TLS and cannot ask for a certificate: use mode terminate")
		}
		if r.Backend.TLS != Off {
			f.add(path+".backend.tls", "a passthrough route sends the client's own TLS to the backend: tls must be off")
		}
	}
	if r.Mode == ModeTerminate && !certificates {
		f.add(path+".mode", "terminate needs an entry in certificates")
	}
	switch {
	case r.ClientAuth.Mode == AuthRequire && r.ClientAuth.CA == "":
		f.add(path+".client_auth.ca", "is required by mode require")
	case r.ClientAuth.Mode == AuthNone && r.ClientAuth.CA != "":
		f.add(path+".client_auth.mode", "a ca without mode request or require would not be used")
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
