package lab

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/realproxy"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/route"
)

// Check says what the router and the load balancers would refuse of a scenario, without building anything: the scenario's
// loader asks it, so that such a fault is found together with all others.
func Check(sc *scenario.Scenario) []scenario.Problem { return CheckOn("")(sc) }

// CheckOn is Check where it is known which driver backends get that name none, as in Options.Backends.
func CheckOn(backends string) func(*scenario.Scenario) []scenario.Problem {
	return func(sc *scenario.Scenario) []scenario.Problem {
		return slices.Concat(checkRoutes(sc), checkBalancers(sc), checkFaults(sc), checkBackendFaults(sc, backends), checkProcesses(sc), checkPeers(sc))
	}
}

func checkRoutes(sc *scenario.Scenario) []scenario.Problem {
	var rules []route.Rule
	for _, r := range sc.Routes {
		if r.Name == "" {
			return nil // the schema has said so
		}
		rules = append(rules, route.Rule{Name: r.Name, SNI: r.SNI, ALPN: r.ALPN})
	}
	_, err := route.NewTable(rules, []string{sc.Topology.Router.Name})
	var problems []scenario.Problem
	for _, one := range unjoin(err) {
		at := []string{"routes"}
		message := one.Error()
		if rule, ok := errors.AsType[*route.RuleError](one); ok {
			at = pointer("routes", rule.Index, rule.Field)
			message = rule.Message
		}
		problems = append(problems, scenario.Problem{At: at, Message: message})
	}
	return problems
}

// unjoin takes apart what errors.Join put together.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// pointer turns a field path such as sni[0] into the segments of a place in the document.
func pointer(list string, index int, field string) []string {
	path := strings.NewReplacer("[", ".", "]", "").Replace(field)
	return append([]string{list, strconv.Itoa(index)}, strings.Split(path, ".")...)
}

// checkBalancers asks the simulator about what it is told, in a configuration that has no other fault, and the real products about
// their places.
func checkBalancers(sc *scenario.Scenario) []scenario.Problem {
	t := &sc.Topology
	var problems []scenario.Problem
	place := func(key string) []string {
		if t.LoadBalancers[key] == t.LoadBalancer {
			return []string{"topology", "load_balancer"}
		}
		return []string{"topology", "load_balancers", key}
	}
	for _, key := range slices.Sorted(maps.Keys(t.LoadBalancers)) {
		if lb := t.LoadBalancers[key]; lb.Real == "" {
			problems = append(problems, checkSimulated(lb, place(key))...)
		}
	}
	asked := map[string]bool{}
	for _, path := range t.Paths {
		legs, err := t.Via(path)
		if err != nil {
			continue // that has been said
		}
		for i, leg := range legs {
			if leg.Real == "" {
				continue
			}
			next := realproxy.Next{}
			if i+1 < len(legs) && legs[i+1].Nodes > 0 {
				next.Resolver = "asked"
			}
			if err := realproxy.Check(leg.Real, realSpec(leg, next)); err != nil && !asked[leg.Key+err.Error()] {
				asked[leg.Key+err.Error()] = true
				problems = append(problems, scenario.Problem{At: append(place(leg.Key), "real"), Message: err.Error()})
			}
		}
	}
	return problems
}

func checkSimulated(lb *scenario.LoadBalancer, place []string) []scenario.Problem {
	protocol := scenario.HTTP // without a certificate, which there is none of yet
	if lb.Protocol != scenario.HTTPS {
		protocol = scenario.TCP
	}
	group := albsim.TargetGroup{Name: "router", Protocol: protocol, TargetType: lb.TargetType, Attributes: lb.TargetGroupAttributes, Targets: []string{"127.0.0.1:1"}}
	_, err := albsim.New(albsim.Config{
		Profile:      lb.Profile,
		Attributes:   lb.Attributes,
		Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: protocol, Default: albsim.Default{Forward: "router"}}},
		TargetGroups: []albsim.TargetGroup{group},
	}, albsim.Options{})
	faults, ok := errors.AsType[albsim.Faults](err)
	if err != nil && !ok {
		return []scenario.Problem{{At: place, Message: err.Error()}}
	}
	var problems []scenario.Problem
	for _, f := range faults {
		at := slices.Clone(place)
		if key, ok := strings.CutPrefix(f.Path, "attributes["); ok {
			at = append(at, "attributes", strings.TrimSuffix(key, "]"))
		}
		if key, ok := strings.CutPrefix(f.Path, "target_groups[0].attributes["); ok {
			at = append(at, "target_group_attributes", strings.TrimSuffix(key, "]"))
		}
		p := scenario.Problem{At: at, Message: f.Message}
		if !slices.ContainsFunc(problems, func(q scenario.Problem) bool { return q.Message == p.Message }) {
			problems = append(problems, p)
		}
	}
	return problems
}
