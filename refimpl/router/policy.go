package router

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/tlsroute/tlsroute-bench/refimpl/route"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// policy is a document made ready for use: parsed, its files read, its TLS configurations built. It never changes; a
// reload puts another in its place, and a connection keeps the one it began with.
type policy struct {
	config     Config // with defaults
	generation int
	table      *route.Table
	routes     []*terminator // by index of config.Routes; nil for a passthrough route
	openers    openers
	own        *terminator // the HTTP endpoint
	probe      *terminator
	upstreams  map[string]*upstream // by name of the route
	proxies    []netip.Prefix
	forwarders []netip.Prefix
}

// newPolicy validates all of the document and reads its files; the error joins everything that is wrong with it.
func newPolicy(config Config, keyLog io.Writer) (*policy, error) {
	types := upgrade.Names()
	config = config.withDefaults(types)
	f := config.check(types)
	p := &policy{config: config, openers: f.openers(config)}

	var ignored faults // check has reported them
	p.proxies = ignored.prefixes("", config.ProxyProtocol.Trusted)
	p.forwarders = ignored.prefixes("", config.ForwardedFor.Trusted)

	certificates, own := f.certificates("certificates", config.Certificates)
	base := termination{config: config.TLS, certificates: certificates, keyLog: keyLog}
	p.own = base.terminator(ClientAuth{Mode: AuthNone}, nil)
	p.probe = base.terminator(ClientAuth{Mode: AuthNone}, nil)
	rules := make([]route.Rule, len(config.Routes))
	p.routes = make([]*terminator, len(config.Routes))
	p.upstreams = make(map[string]*upstream, len(config.Routes))
	for i, r := range config.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		rules[i] = route.Rule{Name: r.Name, SNI: r.SNI, ALPN: r.ALPN}
		p.upstreams[r.Name] = f.upstream(path+".backend", r.Backend)
		if r.Mode == ModePassthrough && r.Backend.TLS == StartTLSPostgres {
			u := p.upstreams[r.Name]
			u.TLS, u.asks = Off, true // it is the client's, not the router's
		}
		if r.Mode != ModeTerminate {
			continue
		}
		var pool *x509.CertPool
		if r.ClientAuth.CA != "" {
			pool = f.pool(path+".client_auth.ca", r.ClientAuth.CA)
		}
		base := base
		if len(r.Certificates) > 0 {
			base.certificates, _ = f.certificates(path+".certificates", r.Certificates)
		}
		p.routes[i] = base.terminator(r.ClientAuth, pool)
	}
	var err error
	if p.table, err = route.NewTable(rules, own); err != nil {
		f = append(f, err) // joined already, and each with its path
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// certificates reads the key pairs; own are the names in them.
func (f *faults) certificates(path string, entries []Certificate) (list []tls.Certificate, own []string) {
	for i, entry := range entries {
		pair, ok := f.keyPair(fmt.Sprintf("%s[%d]", path, i), entry)
		if !ok {
			continue
		}
		list = append(list, pair)
		names := pair.Leaf.DNSNames
		if len(names) == 0 {
			names = []string{pair.Leaf.Subject.CommonName} // as made by openssl req -subj /CN=…
		}
		own = append(own, names...)
	}
	return list, own
}

func (f *faults) keyPair(path string, entry Certificate) (pair tls.Certificate, ok bool) {
	cert, certErr := readRequired(entry.Cert)
	if certErr != nil {
		f.add(path+".cert", "%w", certErr)
	}
	key, keyErr := readRequired(entry.Key)
	if keyErr != nil {
		f.add(path+".key", "%w", keyErr)
	}
	if certErr != nil || keyErr != nil {
		return pair, false
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		f.add(path, "%s and %s: %w", entry.Cert, entry.Key, err)
	}
	return pair, err == nil
}

func (f *faults) pool(path, file string) *x509.CertPool {
	data, err := os.ReadFile(file)
	if err != nil {
		f.add(path, "%w", err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		f.add(path, "%s: no certificate in PEM form", file)
	}
	return pool
}

func readRequired(file string) ([]byte, error) {
	if file == "" {
		return nil, errors.New("is required")
	}
	return os.ReadFile(file)
}

// terminator ends TLS under one policy: its configurations differ in the one ALPN that is confirmed and in nothing else.
//
// Each is built afresh and never cloned, because a clone shares its session ticket keys: a ticket must not be good under
// another ALPN, on another route, or after a reload that changed who is let in.
type terminator struct {
	build func(alpn string) *tls.Config

	mu     sync.Mutex
	byALPN map[string]*tls.Config // mu guards
}

// maxConfigs bounds the cache of a route that takes any ALPN: the names are the client's to invent.
const maxConfigs = 64

// termination is what all terminators of a document have in common.
type termination struct {
	config       TLS
	certificates []tls.Certificate
	keyLog       io.Writer
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

var curves = map[string]tls.CurveID{
	"X25519MLKEM768": tls.X25519MLKEM768, "SecP256r1MLKEM768": tls.SecP256r1MLKEM768, "SecP384r1MLKEM1024": tls.SecP384r1MLKEM1024,
	"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521,
}

func (base termination) terminator(auth ClientAuth, pool *x509.CertPool) *terminator {
	var preferences []tls.CurveID // nil: the defaults
	for _, name := range base.config.Curves {
		preferences = append(preferences, curves[name])
	}
	build := func(alpn string) *tls.Config {
		config := &tls.Config{
			MinVersion:       versions[base.config.MinVersion],
			CurvePreferences: preferences,
			// crypto/tls takes the first that fits the name and the client's algorithms, else the first of all.
			Certificates: base.certificates,
			KeyLogWriter: base.keyLog,
			ClientCAs:    pool,
		}
		if alpn != "" {
			config.NextProtos = []string{alpn}
		}
		switch auth.Mode {
		case AuthRequest:
			config.ClientAuth = tls.RequestClientCert
			if pool != nil {
				config.ClientAuth = tls.VerifyClientCertIfGiven
			}
			config.SessionTicketsDisabled = true
		case AuthRequire:
			config.ClientAuth = tls.RequireAndVerifyClientCert
			config.SessionTicketsDisabled = true
		default:
			config.SessionTicketsDisabled = base.config.SessionTickets == Off
			bindTickets(config)
		}
		return config
	}
	return &terminator{build: build, byALPN: map[string]*tls.Config{}}
}

// config is the configuration that confirms alpn, or nothing when it is empty.
func (t *terminator) config(alpn string) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	config, ok := t.byALPN[alpn]
	if !ok {
		config = t.build(alpn)
		if len(t.byALPN) < maxConfigs {
			t.byALPN[alpn] = config
		}
	}
	return config
}

// ticketName marks the extra data of a session ticket that holds the server name it was given under.
const ticketName = "tlsroute-name:"

// bindTickets makes a session resumable under its own server name only (RFC 6066 section 3, RFC 8446 section 4.6.1):
// a route may have many names, with a certificate each.
func bindTickets(config *tls.Config) {
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, []byte(ticketName+strings.ToLower(state.ServerName)))
		return config.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := config.DecryptTicket(identity, state)
		if err != nil || session == nil {
			return nil, err
		}
		for _, extra := range session.Extra {
			if name, ok := strings.CutPrefix(string(extra), ticketName); ok && name == strings.ToLower(state.ServerName) {
				return session, nil
			}
		}
		return nil, nil // a full handshake
	}
}
