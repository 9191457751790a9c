package albsim

import (
	"strconv"
	"strings"
)

// AWS's quotas, as they are unless raised: alb.md sections 2, 8 and 9 (LIM, RULES 2023; D).
const (
	maxListeners      = 50
	maxCertificates   = 25 // of all listeners, their defaults not counted
	maxRules          = 100
	maxGroups         = 100
	maxTargets        = 1000
	maxValues         = 3 // of a condition
	maxRuleValues     = 5
	maxRuleWildcards  = 5
	maxPatternLength  = 128
	maxGroupsOfAction = 5
)

// checkQuotas refuses what AWS's interface would, under the name of its error.
func checkQuotas(cfg Config, faults *Faults) {
	certificates, rules, targets := 0, 0, 0
	for i, l := range cfg.Listeners {
		certificates += max(0, len(l.Certificates)-1)
		rules += len(l.Rules)
		for j, r := range l.Rules {
			checkRuleQuotas(r, "listeners["+strconv.Itoa(i)+"].rules["+strconv.Itoa(j)+"].conditions", faults)
		}
	}
	for _, g := range cfg.TargetGroups {
		targets += len(g.Targets)
	}
	for _, q := range []struct {
		path, what, name string
		n, most          int
	}{
		{"listeners", "listeners", "TooManyListeners", len(cfg.Listeners), maxListeners},
		{"listeners", "certificates beside the default ones", "TooManyCertificates", certificates, maxCertificates},
		{"listeners", "rules", "TooManyRules", rules, maxRules},
		{"target_groups", "target groups", "TooManyUniqueTargetGroupsPerLoadBalancer", len(cfg.TargetGroups), maxGroups},
		{"target_groups", "targets", "TooManyTargets", targets, maxTargets},
	} {
		if q.n > q.most {
			faults.add(q.path, "%s: %d %s, and a load balancer has at most %d", q.name, q.n, q.what, q.most)
		}
	}
}

func checkRuleQuotas(r Rule, path string, faults *Faults) {
	values, wildcards := 0, 0
	for i, c := range r.Conditions {
		at := path + "[" + strconv.Itoa(i) + "].values"
		here := len(c.Values) + len(c.RegexValues)
		if values += here; here > maxValues {
			faults.add(at, "%d values, and a condition has at most %d", here, maxValues)
		}
		for _, v := range c.Values {
			if c.Field != "http-request-method" && c.Field != "source-ip" {
				wildcards += strings.Count(v, "*") + strings.Count(v, "?")
			}
		}
	}
	if values > maxRuleValues {
		faults.add(path, "%d values, and a rule has at most %d", values, maxRuleValues)
	}
	if wildcards > maxRuleWildcards {
		faults.add(path, "%d wildcards, and a rule has at most %d", wildcards, maxRuleWildcards)
	}
}

// checkPattern refuses what the field's values may not hold: alb.md section 8.
func checkPattern(field, v, path string, faults *Faults) {
	switch {
	case v == "":
		faults.add(path, "is empty")
	case len(v) > maxPatternLength:
		faults.add(path, "longer than %d characters", maxPatternLength)
	case strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f }):
		faults.add(path, "%q: control characters are not allowed", v)
	case field == "http-request-method" && strings.ContainsFunc(v, func(c rune) bool { return (c < 'A' || c > 'Z') && c != '-' && c != '_' }):
		faults.add(path, "%q: a method has capital letters, - and _, and no wildcard", v)
	}
}
