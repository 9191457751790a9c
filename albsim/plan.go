package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"slices"
	"strconv"
)

// plan is a document that was found good: typed, with its files read and its names resolved.
type plan struct {
	profile   Profile
	set       settings
	listeners []*listenerPlan
	groups    map[string]*targetGroup
	logs      Logs
}

type listenerPlan struct {
	address string
	secure  bool
	certs   []tls.Certificate
	policy  policy
	mutual  string // off, passthrough or verify
	trust   *x509.CertPool
	rules   []rule // by priority, the default last
}

func makePlan(cfg Config) (*plan, error) {
	var faults Faults
	p := &plan{groups: map[string]*targetGroup{}, logs: cfg.Logs}

	name := cfg.Profile
	if name == "" {
		name = DefaultProfile
	}
	profile, ok := LookupProfile(name)
	if !ok {
		faults.add("profile", "%s: this version has no such profile%s", name, didYouMean(name, Profiles()))
	}
	p.profile = profile
	p.set = readAttributes(cfg.Attributes, &faults)

	for i, g := range cfg.TargetGroups {
		path := "target_groups[" + strconv.Itoa(i) + "]"
		if group := planGroup(g, path, &faults); group != nil {
			if p.groups[g.Name] != nil {
				faults.add(path+".name", "%s: there is a target group of that name already", g.Name)
			}
			p.groups[g.Name] = group
		}
	}
	if len(cfg.Listeners) == 0 {
		faults.add("listeners", "at least one is needed")
	}
	for i, l := range cfg.Listeners {
		p.listeners = append(p.listeners, p.planListener(l, "listeners["+strconv.Itoa(i)+"]", &faults))
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return p, nil
}

func planGroup(g TargetGroup, path string, faults *Faults) *targetGroup {
	group := &targetGroup{name: g.Name}
	if g.Name == "" {
		faults.add(path+".name", "is missing")
		return nil
	}
	switch g.Protocol {
	case "HTTP", "HTTPS":
		group.secure = g.Protocol == "HTTPS"
	case "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", "%s belongs to a network load balancer, which this version does not simulate; use HTTP or HTTPS", g.Protocol)
	default:
		faults.add(path+".protocol", "%q: must be HTTP or HTTPS", g.Protocol)
	}
	switch g.ProtocolVersion {
	case "", "HTTP1":
	case "HTTP2", "GRPC":
		faults.add(path+".protocol_version", "%s: this version speaks only HTTP1 to its targets", g.ProtocolVersion)
	default:
		faults.add(path+".protocol_version", "%q: must be HTTP1", g.ProtocolVersion)
	}
	if g.HealthCheck.Enabled {
		faults.add(path+".health_check.enabled", "true: this version makes no health checks; every target counts as healthy")
	}
	for i, t := range g.Targets {
		if msg := checkAddress(t, false); msg != "" {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: %s", t, msg)
		}
	}
	group.targets = slices.Clone(g.Targets)
	return group
}

func checkAddress(address string, zeroPort bool) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "must be host:port"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || n == 0 && !zeroPort:
		return "the port must be a number from 1 to 65535"
	case host == "" && !zeroPort:
		return "the host is missing"
	}
	return ""
}

func (p *plan) planListener(l Listener, path string, faults *Faults) *listenerPlan {
	out := &listenerPlan{address: l.Listen, secure: l.Protocol == "HTTPS", mutual: "off"}
	if msg := checkAddress(l.Listen, true); msg != "" {
		faults.add(path+".listen", "%q: %s", l.Listen, msg)
	}
	switch l.Protocol {
	case "HTTP":
		if len(l.Certificates) > 0 {
			faults.add(path+".certificates", "an HTTP listener has none")
		}
		if l.SSLPolicy != "" {
			faults.add(path+".ssl_policy", "an HTTP listener has none")
		}
		if l.MutualAuthentication.Mode != "" && l.MutualAuthentication.Mode != "off" {
			faults.add(path+".mutual_authentication", "an HTTP listener has none")
		}
	case "HTTPS":
		p.planTLS(l, out, path, faults)
	case "TCP", "TLS", "UDP", "TCP_UDP", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", "%s belongs to a network load balancer, which this version does not simulate; use HTTP or HTTPS", l.Protocol)
	default:
		faults.add(path+".protocol", "%q: must be HTTP or HTTPS", l.Protocol)
	}
	p.planRules(l, out, path, faults)
	return out
}

func (p *plan) planTLS(l Listener, out *listenerPlan, path string, faults *Faults) {
	if len(l.Certificates) == 0 {
		faults.add(path+".certificates", "an HTTPS listener needs at least one; the first is the default")
	}
	for i, c := range l.Certificates {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			faults.add(path+".certificates["+strconv.Itoa(i)+"]", "%v", err)
			continue
		}
		out.certs = append(out.certs, cert)
	}
	var msg string
	if out.policy, msg = lookupPolicy(l.SSLPolicy); msg != "" {
		faults.add(path+".ssl_policy", "%s", msg)
	}
	m := l.MutualAuthentication
	path += ".mutual_authentication"
	switch m.Mode {
	case "", "off":
	case "passthrough":
		out.mutual = m.Mode
	case "verify":
		out.mutual = m.Mode
		if m.TrustStore == "" {
			faults.add(path+".trust_store", "mode verify needs one")
			return
		}
		pem, err := os.ReadFile(m.TrustStore)
		if err != nil {
			faults.add(path+".trust_store", "%v", err)
			return
		}
		out.trust = x509.NewCertPool()
		if !out.trust.AppendCertsFromPEM(pem) {
			faults.add(path+".trust_store", "%s holds no PEM certificate", m.TrustStore)
		}
	default:
		faults.add(path+".mode", "%q: must be off, passthrough or verify", m.Mode)
	}
}
