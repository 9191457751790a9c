package albsim

import (
	"net"
	"strconv"
)

// plan is a document that was found good: typed, with its files read and its names resolved.
type plan struct {
	profile   Profile
	set       settings
	listeners []*listenerPlan
	groups    map[string]*group
	order     []*group // as in the document
	logs      Logs
	faults    []Injection
	webACL    *webACL
	dataKey   *dataKey // nil where nobody is authenticated
}

func makePlan(cfg Config) (*plan, error) {
	var faults Faults
	p := &plan{groups: map[string]*group{}, logs: cfg.Logs}

	name := cfg.Profile
	if name == "" {
		name = DefaultProfile
	}
	profile, ok := LookupProfile(name)
	if !ok {
		faults.add("profile", "%s: this version has no such profile%s", name, didYouMean(name, Profiles()))
	}
	planGroup := planGroup
	if profile.Kind == network {
		planGroup = planNetworkGroup
		networkAttributes.read(cfg.Attributes, "attributes", &faults)
		if cfg.Logs.Connection != "" {
			faults.add("logs.connection", "a network load balancer has none")
		}
		if cfg.WebACL != nil {
			faults.add("web_acl", "a network load balancer has none")
		}
	} else {
		p.set = balancerAttributes.read(cfg.Attributes, "attributes", &faults)
		p.set.from(&profile, cfg.Attributes)
	}
	p.profile = profile

	for i, g := range cfg.TargetGroups {
		path := "target_groups[" + strconv.Itoa(i) + "]"
		if group := planGroup(g, path, &faults); group != nil {
			if p.groups[g.Name] != nil {
				faults.add(path+".name", "%s: there is a target group of that name already", g.Name)
			}
			p.groups[g.Name] = group
			p.order = append(p.order, group)
		}
	}
	p.webACL = planWebACL(cfg.WebACL, &faults)
	p.faults = planFaults(cfg.Faults, "faults", &faults)
	if cfg.Admin != "" {
		if msg := checkAddress(cfg.Admin, true); msg != "" {
			faults.add("admin", "%q: %s", cfg.Admin, msg)
		}
	}
	checkQuotas(cfg, &faults)
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
