package albsim

import "strconv"

func planGroup(g TargetGroup, path string, faults *Faults) *group {
	out := &group{name: g.Name}
	if g.Name == "" {
		faults.add(path+".name", "is missing")
		return nil
	}
	switch g.Protocol {
	case "HTTP", "HTTPS":
		out.secure = g.Protocol == "HTTPS"
	case "TCP", "TLS":
		faults.add(path+".protocol", "%s belongs to a network load balancer, and the profile is an application load balancer; use HTTP or HTTPS", g.Protocol)
	case "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", noUDP, g.Protocol)
	default:
		faults.add(path+".protocol", "%q: must be HTTP or HTTPS", g.Protocol)
	}
	switch g.ProtocolVersion {
	case "", "HTTP1":
		out.carrier = overHTTP1{}
	case "HTTP2", "GRPC":
		faults.add(path+".protocol_version", "%s: this version speaks only HTTP1 to its targets", g.ProtocolVersion)
	default:
		faults.add(path+".protocol_version", "%q: must be HTTP1", g.ProtocolVersion)
	}
	if g.HealthCheck.Enabled {
		faults.add(path+".health_check.enabled", "true: this version makes no health checks; every target counts as healthy")
	}
	out.set = groupAttributes.read(g.Attributes, path+".attributes", faults)
	refuseNetwork(g, path, faults)
	out.planTargets(g, path, faults)
	return out
}

func (out *group) planTargets(g TargetGroup, path string, faults *Faults) {
	for i, t := range g.Targets {
		if msg := checkAddress(t, false); msg != "" {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: %s", t, msg)
		}
		out.targets = append(out.targets, newTarget(t))
	}
}
