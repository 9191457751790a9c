package albsim

import (
	"slices"
	"strconv"
	"strings"
)

func (p *plan) planRules(l Listener, out *listenerPlan, path string, faults *Faults) {
	seen := map[int]bool{}
	for i, r := range l.Rules {
		at := path + ".rules[" + strconv.Itoa(i) + "]"
		one := rule{priority: r.Priority}
		if r.Priority < 1 || r.Priority > 50000 {
			faults.add(at+".priority", "%d: must be from 1 to 50000", r.Priority)
		} else if seen[r.Priority] {
			faults.add(at+".priority", "%d: another rule has it already", r.Priority)
		}
		seen[r.Priority] = true
		if len(r.Conditions) == 0 {
			faults.add(at+".conditions", "a rule needs at least one; the default stands under default")
		}
		for j, c := range r.Conditions {
			one.conditions = append(one.conditions, planCondition(c, at+".conditions["+strconv.Itoa(j)+"]", faults))
		}
		one.action = p.planActions(r.Actions, l.Protocol, at+".actions", faults)
		one.transforms = planTransforms(r.Transforms, at+".transforms", faults)
		out.rules = append(out.rules, one)
	}
	slices.SortStableFunc(out.rules, func(a, b rule) int { return a.priority - b.priority })

	def := rule{}
	switch d := l.Default; {
	case d.Forward != "" && len(d.Actions) > 0:
		faults.add(path+".default", "forward is short for actions: give one of them")
	case d.Forward != "":
		def.action = action{kind: "forward"}
		def.action.groups = p.shares([]WeightedTarget{{d.Forward, 1}}, l.Protocol, path+".default.forward", faults)
	default:
		def.action = p.planActions(d.Actions, l.Protocol, path+".default.actions", faults)
	}
	out.rules = append(out.rules, def)
	out.signIns = map[string]*oidc{}
	for _, r := range out.rules {
		if o, ok := r.action.guard.(*oidc); ok {
			out.signIns[o.id] = o
		}
	}
}

func planCondition(c Condition, path string, faults *Faults) condition {
	out := condition{field: c.Field, header: c.HTTPHeaderName, values: c.Values}
	switch c.Field {
	case "path-pattern", "host-header", "http-request-method", "query-string", "http-header":
	case "source-ip":
		out.prefixes = planPrefixes(c.Values, path+".values", faults)
	default:
		faults.add(path+".field", "%q: no such condition%s", c.Field, didYouMean(c.Field,
			[]string{"path-pattern", "host-header", "http-header", "http-request-method", "query-string", "source-ip"}))
	}
	if (c.Field == "http-header") != (c.HTTPHeaderName != "") {
		faults.add(path+".http_header_name", "goes with field http-header, and only with it")
	}
	if c.HTTPHeaderName != "" && (strings.Contains(c.HTTPHeaderName, "*") || !validToken(c.HTTPHeaderName)) {
		faults.add(path+".http_header_name", "%q: must be a field's name, without wildcards", c.HTTPHeaderName)
	}
	if len(c.Values)+len(c.RegexValues) == 0 {
		faults.add(path+".values", "at least one is needed")
	}
	if len(c.RegexValues) > 0 && !slices.Contains([]string{"path-pattern", "host-header", "http-header"}, c.Field) {
		faults.add(path+".regex_values", "goes with path-pattern, host-header and http-header, and %s has none", c.Field)
	}
	for i, v := range c.RegexValues {
		if r := planRegex(v, maxPatternLength, path+".regex_values["+strconv.Itoa(i)+"]", faults); r != nil {
			out.regexes = append(out.regexes, r)
		}
	}
	for i, v := range c.Values {
		checkPattern(c.Field, v, path+".values["+strconv.Itoa(i)+"]", faults)
	}
	return out
}

func (p *plan) planActions(actions []Action, protocol, path string, faults *Faults) action {
	var first guard
	before := 0
	if len(actions) == 2 && isGuard(actions[0]) {
		first, before = p.planGuard(actions[0], protocol, path+"[0]", faults), 1
	}
	if len(actions) != before+1 {
		faults.add(path, "exactly one forward, redirect or fixed-response is needed, with at most one of %s in front", strings.Join(guardTypes, ", "))
		return action{}
	}
	a := actions[before]
	path += "[" + strconv.Itoa(before) + "]"
	out := action{kind: a.Type, Action: a, guard: first}
	switch a.Type {
	case "forward":
		shares := a.TargetGroups
		at := path + ".target_groups"
		if a.TargetGroup != "" {
			if len(shares) > 0 {
				faults.add(path, "give target_group or target_groups, not both")
			}
			shares, at = []WeightedTarget{{a.TargetGroup, 1}}, path+".target_group"
		}
		if len(shares) == 0 || len(shares) > maxGroupsOfAction {
			faults.add(path+".target_group", "forward needs one target group, or up to five in target_groups")
		}
		out.groups = p.shares(shares, protocol, at, faults)
		out.planStickiness(path, faults)
	case "redirect":
		checkRedirect(a, protocol, path, faults)
	case "fixed-response":
		if c := a.StatusCode; c < 200 || c > 599 || c/100 == 3 {
			faults.add(path+".status_code", "%d: must be 2XX, 4XX or 5XX", c)
		}
		types := []string{"", "text/plain", "text/css", "text/html", "application/javascript", "application/json"}
		if !slices.Contains(types, a.ContentType) {
			faults.add(path+".content_type", "%q: must be one of %s", a.ContentType, strings.Join(types[1:], ", "))
		}
		if len(a.MessageBody) > 1024 {
			faults.add(path+".message_body", "longer than 1024 characters")
		}
	case "authenticate-oidc", "authenticate-cognito", "jwt-validation":
		faults.add(path+".type", "%s: a forward, redirect or fixed-response must be the last action", a.Type)
	default:
		faults.add(path+".type", "%q: no such action%s", a.Type, didYouMean(a.Type, []string{"forward", "redirect", "fixed-response"}))
	}
	return out
}

func (p *plan) shares(in []WeightedTarget, protocol, path string, faults *Faults) []share {
	var out []share
	for _, w := range in {
		g := p.groups[w.TargetGroup]
		if g == nil {
			names := make([]string, 0, len(p.groups))
			for n := range p.groups {
				names = append(names, n)
			}
			slices.Sort(names)
			faults.add(path, "%q: no such target group%s", w.TargetGroup, didYouMean(w.TargetGroup, names))
			continue
		}
		if _, h2 := g.carrier.(overHTTP2); h2 && protocol == "HTTP" {
			faults.add(path, "%s: a target group of HTTP2 or GRPC needs an HTTPS listener", w.TargetGroup)
		}
		if w.Weight < 0 || w.Weight > 999 {
			faults.add(path, "weight %d of %s: must be from 0 to 999", w.Weight, w.TargetGroup)
		}
		g.used = true
		out = append(out, share{g, w.Weight})
	}
	return out
}
