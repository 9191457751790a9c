package albsim

import "strconv"

func planGroup(g TargetGroup, path string, faults *Faults) *group {
	out := &group{name: g.Name}
	if g.Name == "" {
		faults.add(path+".name", "is missing")
		return nil
	}
	switch g.TargetType {
	case "", "instance", "ip":
	case "lambda":
		planLambda(g, out, path, faults)
		return out
	case "alb":
		faults.add(path+".target_type", "alb belongs to a network load balancer")
	default:
		faults.add(path+".target_type", "%q: must be instance, ip or lambda", g.TargetType)
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
		out.carrier = overHTTP2{grpc: g.ProtocolVersion == "GRPC"}
	default:
		faults.add(path+".protocol_version", "%q: must be HTTP1, HTTP2 or GRPC", g.ProtocolVersion)
	}
	out.check = planHealthCheck(g, path+".health_check", faults)
	out.set = planGroupSettings(g.Attributes, path+".attributes", faults)
	if g.VPCEndpointID != "" {
		faults.add(path+".vpc_endpoint_id", "belongs to a network load balancer")
	}
	out.planTargets(g, path, faults)
	return out
}

func (out *group) planTargets(g TargetGroup, path string, faults *Faults) {
	for i, t := range g.Targets {
		if msg := checkAddress(t, false); msg != "" {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: %s", t, msg)
		}
		if out.find(t) != nil {
			faults.add(path+".targets["+strconv.Itoa(i)+"]", "%q: is there already", t)
		}
		out.targets = append(out.targets, newTarget(t))
	}
}
