package albsim

import (
	"cmp"
	"context"
	"crypto/tls"
	"strconv"
)

// listenerPlan is a listener that was found good.
type listenerPlan struct {
	hosts     []string // of the nodes
	inService int      // of them, at a time
	port      string
	secure    bool
	// serve has one connection of the listener from its accept to its end; who calls it closes the connection.
	serve  func(s *Server, ctx context.Context, c *connState, raw *rawConn)
	certs  []tls.Certificate
	policy policy
	// policyName is the policy's, the default's if the document has none.
	policyName string
	mutual     string // off, passthrough or verify
	trust      clientTrust
	set        listenerSettings
	rules      []rule           // by priority, the default last
	signIns    map[string]*oidc // the authenticate actions of the rules, by their ids

	network *networkListener // nil for an application load balancer's
}

func (p *plan) planListener(l Listener, path string, faults *Faults) *listenerPlan {
	out := &listenerPlan{secure: l.Protocol == "HTTPS", mutual: "off"}
	if msg := checkAddress(l.Listen, true); msg != "" {
		faults.add(path+".listen", "%q: %s", l.Listen, msg)
	}
	planNodes(l, out, path, faults)
	if p.profile.Kind == network {
		p.planNetworkListener(l, out, path, faults)
		return out
	}
	out.set = listenerAttributes.read(l.Attributes, path+".attributes", faults)
	switch l.Protocol {
	case "HTTP":
		out.serve = (*Server).servePlain
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
		out.serve = (*Server).serveTLS
		p.planTLS(l, out, path, faults)
	case "TCP", "TLS":
		faults.add(path+".protocol", noNetwork, l.Protocol, p.profile.Name)
	case "UDP", "TCP_UDP", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", noUDP, l.Protocol)
	default:
		faults.add(path+".protocol", "%q: must be HTTP or HTTPS", l.Protocol)
	}
	if l.ALPNPolicy != "" {
		faults.add(path+".alpn_policy", "belongs to a TLS listener of a network load balancer")
	}
	p.planRules(l, out, path, faults)
	return out
}

func (p *plan) planTLS(l Listener, out *listenerPlan, path string, faults *Faults) {
	if len(l.Certificates) == 0 {
		faults.add(path+".certificates", "a listener with TLS needs at least one; the first is the default")
	}
	byDefault := 0
	for i, c := range l.Certificates {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			faults.add(path+".certificates["+strconv.Itoa(i)+"]", "%v", err)
			continue
		}
		if out.certs = append(out.certs, cert); c.Default {
			if byDefault++; byDefault > 1 {
				faults.add(path+".certificates["+strconv.Itoa(i)+"].default", "a listener has one default certificate, and there is another")
			}
			last := len(out.certs) - 1
			out.certs[0], out.certs[last] = out.certs[last], out.certs[0]
		}
	}
	var msg string
	out.policyName = cmp.Or(l.SSLPolicy, defaultPolicy)
	if out.policy, msg = lookupPolicy(out.policyName); msg != "" {
		faults.add(path+".ssl_policy", "%s", msg)
	}
	planMutual(l.MutualAuthentication, out, path+".mutual_authentication", faults)
}
