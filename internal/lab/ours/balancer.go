package ours

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Balancers starts simulators of an AWS ALB in this process. It is a conformance.BalancerLauncher.
type Balancers struct {
	// Base is the document that checks change.
	Base door.Balancer
	// Change may spoil the changed document, for a mutant; nil leaves it.
	Change func(*door.Balancer)
}

var _ conformance.BalancerLauncher = Balancers{}

// Document is the base.
func (b Balancers) Document() door.Balancer { return b.Base.Copy() }

// Launch starts one.
func (b Balancers) Launch(ctx context.Context, doc door.Balancer) (string, func(context.Context) error, error) {
	if b.Change != nil {
		b.Change(&doc)
	}
	raw, err := json.Marshal(albDocument(doc))
	if err != nil {
		return "", nil, err
	}
	var c albsim.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", nil, err
	}
	s, err := albsim.New(c, albsim.Options{})
	if err != nil {
		return "", nil, err
	}
	if err := s.Listen(ctx); err != nil {
		return "", nil, err
	}
	serving, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(serving) }()
	stop := func(ctx context.Context) error {
		cut, cancel := context.WithCancel(ctx)
		cancel() // what is still there is cut
		err := s.Shutdown(cut)
		end()
		if served := <-done; !errors.Is(err, context.Canceled) {
			return errors.Join(err, served)
		}
		return nil
	}
	return s.Addrs()[0].String(), stop, nil
}

// BalancerFeatures are those of the simulator with the profile of an AWS ALB.
func BalancerFeatures() []string {
	return []string{
		"aws-alb", door.FeatureAttributes, door.FeaturePolicy, door.FeatureMutual, door.FeatureRules, door.FeatureGroups,
		door.FeatureGroupAttributes, door.FeatureVersion,
	}
}

// BalancerAdapter is the adapter of the simulator; program is the path of tlsroute-bench.
func BalancerAdapter(program string) door.Handler {
	h := daemon{program: program, command: "alb"}.verbs(func(ctx context.Context, r door.Request, d daemon) (door.Answer, error) {
		var doc door.Balancer
		if err := json.Unmarshal(r.Config, &doc); err != nil {
			return door.Answer{}, err
		}
		if lacks := slices.DeleteFunc(doc.Require, func(f string) bool { return slices.Contains(BalancerFeatures(), f) }); len(lacks) > 0 {
			return door.Answer{}, &door.UnsupportedError{Reason: "no feature " + strings.Join(lacks, ", ")}
		}
		raw, err := json.Marshal(albDocument(doc))
		if err == nil {
			err = os.WriteFile(d.file("config.json"), raw, 0o600)
		}
		if err != nil {
			return door.Answer{}, err
		}
		pid, addresses, err := d.start(ctx)
		return door.Answer{Listen: addresses["alb"], PID: pid}, err
	})
	h["describe"] = func(context.Context, door.Request) (door.Answer, error) {
		return door.Answer{Name: "tlsroute-bench aws-alb", Version: version(), Role: "lb", Features: BalancerFeatures()}, nil
	}
	return h
}

type object = map[string]any

// albDocument is the simulator's own document (DESIGN.md section 5), whose words the optional fields of the door's are.
func albDocument(doc door.Balancer) object {
	listener := object{"listen": doc.Listen, "protocol": "HTTP", "default": object{"forward": "target"}}
	if len(doc.Certificates) > 0 {
		listener["protocol"], listener["certificates"] = "HTTPS", doc.Certificates
	}
	attributes := object{}
	if idle, err := time.ParseDuration(doc.IdleTimeout); err == nil {
		attributes["idle_timeout.timeout_seconds"] = int(idle.Round(time.Second).Seconds())
	}
	maps.Copy(attributes, doc.Attributes)
	if doc.SSLPolicy != "" {
		listener["ssl_policy"] = doc.SSLPolicy
	}
	if doc.MutualAuthentication != nil {
		listener["mutual_authentication"] = doc.MutualAuthentication
	}
	if doc.Rules != nil {
		listener["rules"] = doc.Rules
	}
	group := albGroup("target", doc.Targets)
	group["protocol_version"] = cmp.Or(doc.ProtocolVersion, "HTTP1")
	if doc.TargetGroupAttributes != nil {
		group["attributes"] = doc.TargetGroupAttributes
	}
	groups := []object{group}
	for _, g := range doc.TargetGroups {
		groups = append(groups, albGroup(g.Name, g.Targets))
	}
	return object{"profile": "aws-alb", "attributes": attributes, "listeners": []object{listener}, "target_groups": groups}
}

func albGroup(name string, list []door.BalancerTarget) object {
	protocol, addresses := "HTTP", []string{} // a list in JSON, though there be none
	for _, t := range list {
		addresses = append(addresses, t.Address)
		if t.TLS {
			protocol = "HTTPS"
		}
	}
	return object{"name": name, "protocol": protocol, "targets": addresses, "health_check": object{"enabled": false}}
}
