package albsim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// groupSettings are a target group's attributes in typed form.
type groupSettings struct {
	deregistration time.Duration
	algorithm      string // round_robin, least_outstanding_requests or weighted_random
	mitigate       bool   // anomaly_mitigation
	slowStart      time.Duration

	sticky                bool
	stickyType            string // lb_cookie or app_cookie
	lbCookieLife, appLife time.Duration
	appCookie             string

	routing, dns healthyTargets // below routing, requests go to every target
}

// healthyTargets are a group's minimum as a number and as a percentage of its targets; 0 is off.
type healthyTargets struct{ count, percentage int64 }

// below tells whether there are too few by either.
func (h healthyTargets) below(healthy, all int) bool {
	return int64(healthy) < h.count || int64(healthy)*100 < h.percentage*int64(all)
}

// groupAttributes are of alb.md sections 5, 9 and 11 (TG, STK, TGH, N-TG). Spelling, ranges and defaults are those of AWS's
// API reference for TargetGroupAttribute and of the user guide's pages on attributes and sticky sessions, as of 2026-11; the
// default of dns_failover.minimum_healthy_targets.count is what AWS's interface answers, 1, where the reference says off.
var groupAttributes = attributeSet[groupSettings]{
	every: groupKeys,
	simulated: []attribute[groupSettings]{
		{"deregistration_delay.timeout_seconds", 300, seconds(0, 3600, func(s *groupSettings) *time.Duration { return &s.deregistration })},
		{"load_balancing.algorithm.anomaly_mitigation", "off", words(func(s *groupSettings, v string) { s.mitigate = v == "on" }, "off", "on")},
		{
			"load_balancing.algorithm.type", "round_robin",
			words(func(s *groupSettings, v string) { s.algorithm = v }, "round_robin", "least_outstanding_requests", "weighted_random"),
		},
		// There is one zone: this changes nothing, and dns_failover no more than a metric.
		{"load_balancing.cross_zone.enabled", "use_load_balancer_configuration", crossZone},
		{"slow_start.duration_seconds", 0, slowStart},
		{"stickiness.app_cookie.cookie_name", "", cookieName},
		{"stickiness.app_cookie.duration_seconds", 86400, seconds(1, 604800, func(s *groupSettings) *time.Duration { return &s.appLife })},
		{"stickiness.enabled", false, boolean(func(s *groupSettings) *bool { return &s.sticky })},
		{"stickiness.lb_cookie.duration_seconds", 86400, seconds(1, 604800, func(s *groupSettings) *time.Duration { return &s.lbCookieLife })},
		{"stickiness.type", "lb_cookie", words(func(s *groupSettings, v string) { s.stickyType = v }, "lb_cookie", "app_cookie")},
		{"target_group_health.dns_failover.minimum_healthy_targets.count", 1, threshold(maxTargets, true, func(s *groupSettings, n int64) { s.dns.count = n })},
		{"target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", threshold(100, true, func(s *groupSettings, n int64) { s.dns.percentage = n })},
		{
			"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", 1,
			threshold(maxTargets, false, func(s *groupSettings, n int64) { s.routing.count = n }),
		},
		{
			"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off",
			threshold(100, true, func(s *groupSettings, n int64) { s.routing.percentage = n }),
		},
	},
	foreign: []string{"waf.http2.traffic_inspection_behavior"},
}

// lambdaAttributes are all that AWS has for a group of target type lambda: its example of DescribeTargetGroupAttributes, and LAM.
var lambdaAttributes = attributeSet[overLambda]{
	every: groupKeys,
	simulated: []attribute[overLambda]{
		{"lambda.multi_value_headers.enabled", false, boolean(func(s *overLambda) *bool { return &s.multi })},
	},
}

// GroupAttributes lists the keys of an application load balancer's target group that a document may set, with their defaults; one
// of target type lambda has lambda.multi_value_headers.enabled alone.
func GroupAttributes() map[string]any { return groupAttributes.defaults() }

// groupDefaults are those of a balancer's kind and a target type.
func groupDefaults(kind, targetType string) map[string]any {
	switch {
	case targetType == "lambda":
		return lambdaAttributes.defaults()
	case kind == application:
		return groupAttributes.defaults()
	case targetType == "alb":
		return nil // AWS lets nobody change them
	}
	out := networkGroupAttributes.defaults()
	out["preserve_client_ip.enabled"] = targetType != "ip"
	return out
}

// planGroupSettings reads a group's attributes and refuses what AWS refuses of them together.
func planGroupSettings(given map[string]any, path string, faults *Faults) groupSettings {
	s := groupAttributes.read(given, path, faults)
	if s.slowStart > 0 && s.algorithm != "round_robin" {
		faults.add(path+"[slow_start.duration_seconds]", "does not go with %s; only with round_robin", s.algorithm)
	}
	if s.mitigate && s.algorithm != "weighted_random" {
		faults.add(path+"[load_balancing.algorithm.anomaly_mitigation]", "on: goes only with weighted_random")
	}
	if s.sticky && s.stickyType == "app_cookie" && s.appCookie == "" {
		faults.add(path+"[stickiness.app_cookie.cookie_name]", "app_cookie needs the name of the application's cookie")
	}
	return s
}

func words[T any](set func(*T, string), known ...string) func(*T, any) string {
	return func(s *T, v any) string {
		word, _ := v.(string)
		if !slices.Contains(known, word) {
			return "must be one of " + strings.Join(known, ", ")
		}
		set(s, word)
		return ""
	}
}

func crossZone(s *groupSettings, v any) string {
	if v == "use_load_balancer_configuration" || boolean(func(*groupSettings) *bool { return new(bool) })(s, v) == "" {
		return ""
	}
	return "must be true, false or use_load_balancer_configuration"
}

func slowStart(s *groupSettings, v any) string {
	n, ok := integer(v)
	if !ok || n != 0 && (n < 30 || n > 900) {
		return "must be 0 or a whole number of seconds from 30 to 900"
	}
	s.slowStart = time.Duration(n) * time.Second
	return ""
}

func cookieName(s *groupSettings, v any) string {
	name, ok := v.(string)
	if !ok || name != "" && !validToken(name) {
		return "must be a cookie's name"
	}
	if strings.HasPrefix(name, "AWSALB") {
		return "names that begin with AWSALB, AWSALBAPP or AWSALBTG are the load balancer's own"
	}
	s.appCookie = name
	return ""
}

func threshold(high int64, off bool, set func(*groupSettings, int64)) func(*groupSettings, any) string {
	return func(s *groupSettings, v any) string {
		if off && v == "off" {
			set(s, 0)
			return ""
		}
		n, ok := integer(v)
		switch {
		case ok && n >= 1 && n <= high:
			set(s, n)
			return ""
		case off:
			return fmt.Sprintf("must be off or a whole number from 1 to %d", high)
		}
		return fmt.Sprintf("must be a whole number from 1 to %d", high)
	}
}
