package albsim

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// refused asserts that a document has faults at those places and no others.
func refused(t *testing.T, cfg Config, want ...string) {
	t.Helper()
	_, err := New(cfg, Options{})
	var faults Faults
	if !errors.As(err, &faults) {
		t.Errorf("error %v, want faults at %v", err, want)
	}
	var got []string
	for _, f := range faults {
		got = append(got, f.Path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("faults at %v, want %v\n%v", got, want, err)
	}
}

func TestWhatANetworkLoadBalancerRefuses(t *testing.T) {
	const target = "127.0.0.1:1"
	for name, one := range map[string]struct {
		edit func(cfg *Config, l *Listener, g *TargetGroup)
		want []string
	}{
		"an HTTP listener": {func(_ *Config, l *Listener, _ *TargetGroup) { l.Protocol = "HTTP" }, []string{"listeners[0].protocol"}},
		"an HTTP group":    {func(_ *Config, _ *Listener, g *TargetGroup) { g.Protocol = "HTTP" }, []string{"target_groups[0].protocol"}},
		"UDP": {func(_ *Config, l *Listener, g *TargetGroup) { l.Protocol, g.Protocol = "UDP", "UDP" }, []string{
			"listeners[0].protocol", "target_groups[0].protocol",
		}},
		"TLS on a TCP listener": {func(_ *Config, l *Listener, _ *TargetGroup) {
			l.Certificates, l.SSLPolicy, l.ALPNPolicy = []Certificate{{Cert: "a", Key: "b"}}, "ELBSecurityPolicy-2016-08", "HTTP2Only"
		}, []string{"listeners[0].certificates", "listeners[0].ssl_policy", "listeners[0].alpn_policy"}},
		"rules and mutual TLS": {func(_ *Config, l *Listener, _ *TargetGroup) {
			l.Rules, l.MutualAuthentication.Mode = []Rule{{Priority: 1}}, "passthrough"
		}, []string{"listeners[0].rules", "listeners[0].mutual_authentication"}},
		"an idle timeout out of range": {func(_ *Config, l *Listener, _ *TargetGroup) { l.Attributes["tcp.idle_timeout.seconds"] = 59 }, []string{
			"listeners[0].attributes[tcp.idle_timeout.seconds]",
		}},
		"an idle timeout of a TLS listener": {func(cfg *Config, l *Listener, _ *TargetGroup) {
			*l = throughTLS(t, "", target).Listeners[0]
			l.Attributes["tcp.idle_timeout.seconds"] = 350
		}, []string{"listeners[0].attributes[tcp.idle_timeout.seconds]"}},
		"an ALPN policy that is none": {func(cfg *Config, l *Listener, _ *TargetGroup) {
			*l = throughTLS(t, "HTTP2", target).Listeners[0]
		}, []string{"listeners[0].alpn_policy"}},
		"no certificate": {func(cfg *Config, l *Listener, _ *TargetGroup) {
			l.Protocol = "TLS"
		}, []string{"listeners[0].certificates"}},
		"a TLS group on a TCP listener": {func(_ *Config, _ *Listener, g *TargetGroup) { g.Protocol = "TLS" }, []string{"listeners[0].default.forward"}},
		"an ALB behind a TLS listener": {func(_ *Config, l *Listener, g *TargetGroup) {
			*l = throughTLS(t, "", target).Listeners[0]
			g.TargetType = "alb"
		}, []string{"listeners[0].default.forward"}},
		"an ALB in a TLS group, twice, with attributes": {func(_ *Config, l *Listener, g *TargetGroup) {
			*l = throughTLS(t, "", target).Listeners[0]
			g.Protocol, g.TargetType, g.Targets = "TLS", "alb", []string{target, "127.0.0.1:2"}
			g.Attributes["proxy_protocol_v2.enabled"] = true
		}, []string{"listeners[0].default.forward", "target_groups[0].target_type", "target_groups[0].targets", "target_groups[0].attributes"}},
		"an action that is not forward": {func(_ *Config, l *Listener, _ *TargetGroup) {
			l.Default = Default{Actions: []Action{{Type: "fixed-response", StatusCode: 200}}}
		}, []string{"listeners[0].default"}},
		"a group that is not there": {func(_ *Config, l *Listener, _ *TargetGroup) { l.Default.Forward = "u" }, []string{"listeners[0].default.forward"}},
		"what belongs to an ALB": {func(cfg *Config, _ *Listener, g *TargetGroup) {
			cfg.Attributes = map[string]any{"idle_timeout.timeout_seconds": 60}
			cfg.Logs.Connection = "connection.log"
			g.ProtocolVersion, g.TargetType = "HTTP1", "lambda"
			g.Attributes["slow_start.duration_seconds"] = 30
		}, []string{
			"attributes[idle_timeout.timeout_seconds]", "logs.connection", "target_groups[0].protocol_version",
			"target_groups[0].target_type", "target_groups[0].attributes[slow_start.duration_seconds]",
		}},
		"a long endpoint": {func(_ *Config, _ *Listener, g *TargetGroup) { g.VPCEndpointID = strings.Repeat("v", 59) }, []string{"target_groups[0].vpc_endpoint_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := throughTCP(target)
			one.edit(&cfg, &cfg.Listeners[0], &cfg.TargetGroups[0])
			refused(t, cfg, one.want...)
		})
	}
}

func TestWhatBelongsToANetworkLoadBalancerIsRefusedElsewhere(t *testing.T) {
	cfg := plain("127.0.0.1:1")
	cfg.Listeners[0].ALPNPolicy = "None"
	cfg.TargetGroups[0].TargetType, cfg.TargetGroups[0].VPCEndpointID = "alb", "vpce-0"
	refused(t, cfg, "listeners[0].alpn_policy", "target_groups[0].target_type", "target_groups[0].vpc_endpoint_id")
}

func TestAForwardActionIsTheDefaultToo(t *testing.T) {
	at := repeat(t)
	cfg := throughTCP(at.addr)
	cfg.Listeners[0].Default = Default{Actions: []Action{{Type: "forward", TargetGroup: "t"}}}
	c := start(t, cfg, Options{}).dial()
	c.send("x")
	c.expect("x")
}
