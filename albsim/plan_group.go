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
	case "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC":
		faults.add(path+".protocol", "%s belongs to a network load balancer, which this version does not simulate; use HTTP or HTTPS", g.Protocol)
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
	out.check = planHealthCheck(g, path+".health_check", faults)
	out.set = planGroupSettings(g.Attributes, path+".attributes", faults)
	for i, t := range g.Targets {
		if msg := checkAddress(t, false); msg != "" {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: %s", t, msg)
		}
		if out.find(t) != nil {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: is there already", t)
		}
		out.targets = append(out.targets, newTarget(t))
	}
	return out
}
