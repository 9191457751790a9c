package albsim

import (
	"crypto/rsa"
	"reflect"
	"strconv"
	"time"
)

// networkListener is what a listener of a network load balancer has besides.
type networkListener struct {
	groups []share
	alpn   []string
	idle   time.Duration
}

// networkGroup is what a target group of one has besides.
type networkGroup struct {
	groupSettings                 // those of them that a network load balancer has
	preserve, proxy bool          // the client's address as source, and in front as PROXY v2
	endDeregistered bool          // connections, when the deregistration delay is over
	endUnhealthy    bool          // connections, when the target turns unhealthy
	unfit           time.Duration // how long a target that does not end them so is unhealthy.draining, before they end; 0 for not at all
	endpoint        string        // the id of a VPC endpoint, for the PROXY header
}

type networkListenerSettings struct{ idle time.Duration }

// The attributes are of alb.md section 11: N-LB, N-IDLE, N-TG.
var (
	networkAttributes = attributeSet[struct{}]{every: balancerKeys, foreign: []string{
		"access_logs.s3.bucket", "access_logs.s3.enabled", "access_logs.s3.prefix", "deletion_protection.enabled",
		"dns_record.client_routing_policy", "ipv6.deny_all_igw_traffic", "load_balancing.cross_zone.enabled",
		"secondary_ips.auto_assigned.per_subnet", "zonal_shift.config.enabled",
	}}
	networkListenerAttributes = attributeSet[networkListenerSettings]{every: listenerKeys, simulated: []attribute[networkListenerSettings]{
		{"tcp.idle_timeout.seconds", 350, seconds(60, 6000, func(s *networkListenerSettings) *time.Duration { return &s.idle })},
	}}
	networkGroupAttributes = attributeSet[networkGroup]{
		every: groupKeys,
		simulated: []attribute[networkGroup]{
			{"deregistration_delay.connection_termination.enabled", false, boolean(func(s *networkGroup) *bool { return &s.endDeregistered })},
			{"deregistration_delay.timeout_seconds", 300, seconds(0, 3600, func(s *networkGroup) *time.Duration { return &s.deregistration })},
			// There is one zone: this changes nothing.
			{"load_balancing.cross_zone.enabled", "use_load_balancer_configuration", ofGroup(crossZone)},
			{"preserve_client_ip.enabled", false, boolean(func(s *networkGroup) *bool { return &s.preserve })},
			{"proxy_protocol_v2.enabled", false, boolean(func(s *networkGroup) *bool { return &s.proxy })},
			{"stickiness.enabled", false, boolean(func(s *networkGroup) *bool { return &s.sticky })},
			{"stickiness.type", "source_ip", ofGroup(words(func(s *groupSettings, v string) { s.stickyType = v }, "source_ip"))},
			{
				"target_group_health.dns_failover.minimum_healthy_targets.count", 1,
				ofGroup(threshold(maxTargets, true, func(s *groupSettings, n int64) { s.dns.count = n })),
			},
			{
				"target_group_health.dns_failover.minimum_healthy_targets.percentage", "off",
				ofGroup(threshold(100, true, func(s *groupSettings, n int64) { s.dns.percentage = n })),
			},
			{
				"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", 1,
				ofGroup(threshold(maxTargets, false, func(s *groupSettings, n int64) { s.routing.count = n })),
			},
			{
				"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off",
				ofGroup(threshold(100, true, func(s *groupSettings, n int64) { s.routing.percentage = n })),
			},
			{"target_health_state.unhealthy.connection_termination.enabled", true, boolean(func(s *networkGroup) *bool { return &s.endUnhealthy })},
			{"target_health_state.unhealthy.draining_interval_seconds", 0, seconds(0, 360000, func(s *networkGroup) *time.Duration { return &s.unfit })},
		},
	}
)

func ofGroup(set func(*groupSettings, any) string) func(*networkGroup, any) string {
	return func(s *networkGroup, v any) string { return set(&s.groupSettings, v) }
}

const (
	noNetwork = "%s belongs to a network load balancer, and %s is an application load balancer; use HTTP or HTTPS, or profile aws-nlb-tcp"
	noUDP     = "%s is of a network load balancer, and not simulated: this one has TCP and TLS"
	noHTTP    = "%q: must be TCP or TLS, since profile %s is a network load balancer"
)

func (p *plan) planNetworkListener(l Listener, out *listenerPlan, path string, faults *Faults) {
	out.serve = (*Server).serveNetwork
	n := &networkListener{}
	out.network = n
	for _, one := range []struct {
		given bool
		field string
	}{
		{len(l.Rules) > 0, "rules"},
		{!reflect.DeepEqual(l.MutualAuthentication, MutualAuthentication{}), "mutual_authentication"},
		{l.Protocol == "TCP" && len(l.Certificates) > 0, "certificates"},
		{l.Protocol == "TCP" && l.SSLPolicy != "", "ssl_policy"},
		{l.Protocol == "TCP" && l.ALPNPolicy != "", "alpn_policy"},
	} {
		if one.given {
			faults.add(path+"."+one.field, "a %s listener has none", l.Protocol)
		}
	}
	switch l.Protocol {
	case "TCP":
		n.idle = networkListenerAttributes.read(l.Attributes, path+".attributes", faults).idle
	case "TLS":
		p.planNetworkTLS(l, out, path, faults)
	case "UDP", "TCP_UDP", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", noUDP, l.Protocol)
	default:
		faults.add(path+".protocol", noHTTP, l.Protocol, p.profile.Name)
	}
	n.groups = p.planNetworkDefault(l, path+".default", faults)
}

func (p *plan) planNetworkTLS(l Listener, out *listenerPlan, path string, faults *Faults) {
	for key := range l.Attributes {
		faults.add(path+".attributes["+key+"]", "a TLS listener has none: its idle timeout cannot be changed")
	}
	out.secure = true
	out.network.idle = p.profile.TLSIdle
	l.MutualAuthentication = MutualAuthentication{} // refused already
	p.planTLS(l, out, path, faults)
	for i, c := range out.certs {
		key, isRSA := c.Leaf.PublicKey.(*rsa.PublicKey)
		if !p.profile.LargeCertificates && (!isRSA || key.N.BitLen() > 2048) {
			faults.add(path+".certificates["+strconv.Itoa(i)+"]", "profile %s takes RSA keys of at most 2048 bits", p.profile.Name)
		}
	}
	policy := l.ALPNPolicy
	if policy == "" {
		policy = "None"
	}
	var ok bool
	if out.network.alpn, ok = alpnPolicies[policy]; !ok {
		faults.add(path+".alpn_policy", "%s: no such policy%s", l.ALPNPolicy, didYouMean(l.ALPNPolicy, ALPNPolicies()))
	}
}

// planNetworkDefault are the listener's target groups, with the weights of a forward action that has several (N-LST).
func (p *plan) planNetworkDefault(l Listener, path string, faults *Faults) []share {
	all := []WeightedTarget{{l.Default.Forward, 1}}
	if a := l.Default.Actions; len(a) == 0 {
		path += ".forward"
	} else {
		if l.Default.Forward != "" || len(a) > 1 || a[0].Type != "forward" {
			faults.add(path, "a network load balancer forwards, and does nothing else")
			return nil
		}
		path += ".actions[0]"
		if a[0].TargetGroupStickiness != (TargetGroupStickiness{}) {
			faults.add(path+".target_group_stickiness_config", "goes by a cookie, and a network load balancer has none")
		}
		switch n := len(a[0].TargetGroups); {
		case n > 0 && a[0].TargetGroup == "" && n <= maxGroupsOfAction:
			all, path = a[0].TargetGroups, path+".target_groups"
		case n > 0:
			faults.add(path, "forward needs one target group, or up to five in target_groups")
			return nil
		default:
			all, path = []WeightedTarget{{a[0].TargetGroup, 1}}, path+".target_group"
		}
	}
	groups := p.shares(all, l.Protocol, path, faults)
	for _, s := range groups {
		switch g := s.group; {
		case l.Protocol == "TCP" && g.secure:
			faults.add(path, "%s: a TCP listener passes bytes on as they are, and cannot forward to a TLS group", g.name)
		case l.Protocol == "TLS" && g.targetType == "alb":
			faults.add(path, "%s: target type alb goes with TCP listeners only", g.name)
		case l.Protocol == "TLS" && g.set.sticky:
			faults.add(path, "%s: stickiness is not supported for TLS listeners; turn stickiness.enabled off, or use a TCP listener", g.name)
		}
	}
	return groups
}

// group is where a flow goes: drawn by weight from a part of its hash that the choice of the target does not go by. It is nil when
// no group has any.
func (n *networkListener) group(flow uint64) *group {
	total := uint64(0)
	for _, s := range n.groups {
		total += uint64(s.weight)
	}
	if total == 0 {
		return nil
	}
	at := flow >> 32 % total
	for _, s := range n.groups {
		if at < uint64(s.weight) {
			return s.group
		}
		at -= uint64(s.weight)
	}
	return nil
}

func planNetworkGroup(g TargetGroup, path string, faults *Faults) *group {
	if g.Name == "" {
		faults.add(path+".name", "is missing")
		return nil
	}
	out := &group{name: g.Name, secure: g.Protocol == "TLS", targetType: g.TargetType}
	switch g.Protocol {
	case "TCP", "TLS":
	case "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", noUDP, g.Protocol)
	default:
		faults.add(path+".protocol", "%q: must be TCP or TLS behind a network load balancer", g.Protocol)
	}
	if g.ProtocolVersion != "" {
		faults.add(path+".protocol_version", "a %s target group has none", g.Protocol)
	}
	set := networkGroupAttributes.read(g.Attributes, path+".attributes", faults)
	if set.unfit > 0 && set.endUnhealthy {
		faults.add(path+".attributes[target_health_state.unhealthy.draining_interval_seconds]",
			"needs target_health_state.unhealthy.connection_termination.enabled to be false")
	}
	out.set, out.network = set.groupSettings, &set
	if out.check = planNetworkCheck(g, &set, path+".health_check", faults); out.check != nil {
		out.check.host = out.checkHost
	}
	switch g.TargetType {
	case "", "instance":
		if _, given := g.Attributes["preserve_client_ip.enabled"]; !given {
			set.preserve = true
		}
	case "ip":
	case "alb":
		set.preserve = true
		if g.Protocol == "TLS" {
			faults.add(path+".target_type", "target type alb is not supported for target groups with the TLS protocol")
		}
		if len(g.Targets) > 1 {
			faults.add(path+".targets", "a target group of type alb has one load balancer")
		}
		if len(g.Attributes) > 0 {
			faults.add(path+".attributes", "those of a target group of type alb cannot be changed")
		}
	default:
		faults.add(path+".target_type", "%q: must be instance, ip or alb behind a network load balancer", g.TargetType)
	}
	if set.endpoint = g.VPCEndpointID; len(set.endpoint) > maxEndpointID {
		faults.add(path+".vpc_endpoint_id", "must have %d characters at most", maxEndpointID)
	}
	out.planTargets(g, path, faults)
	return out
}

// refuseNetwork refuses what a target group of an application load balancer has no use for.
