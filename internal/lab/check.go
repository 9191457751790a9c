package lab

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/route"
)

// Check says what the router and the load balancer would refuse of a scenario, without building anything: the scenario's
// loader asks it, so that such a fault is found together with all others.
func Check(sc *scenario.Scenario) []scenario.Problem {
	return append(checkRoutes(sc), checkAttributes(sc)...)
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

// checkAttributes asks the simulator about the attributes, in a configuration that has no other fault.
func checkAttributes(sc *scenario.Scenario) []scenario.Problem {
	lb := sc.Topology.LoadBalancer
	if lb == nil {
		return nil
	}
	_, err := albsim.New(albsim.Config{
		Profile:      lb.Profile,
		Attributes:   lb.Attributes,
		Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: albsim.Default{Forward: "router"}}},
		TargetGroups: []albsim.TargetGroup{{Name: "router", Protocol: "HTTP", Targets: []string{"127.0.0.1:1"}}},
	}, albsim.Options{})
	faults, ok := errors.AsType[albsim.Faults](err)
	if err != nil && !ok {
		return []scenario.Problem{{At: []string{"topology", "load_balancer"}, Message: err.Error()}}
	}
	var problems []scenario.Problem
	for _, f := range faults {
		at := []string{"topology", "load_balancer"}
		if key, ok := strings.CutPrefix(f.Path, "attributes["); ok {
			at = append(at, "attributes", strings.TrimSuffix(key, "]"))
		}
		problems = append(problems, scenario.Problem{At: at, Message: f.Message})
	}
	return problems
}
