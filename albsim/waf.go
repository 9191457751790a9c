package albsim

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// webACL is a document's, found good; nil is none.
type webACL struct {
	blocks      bool // what no rule blocks
	rules       []webACLRule
	unavailable bool
}

type webACLRule struct {
	prefixes []netip.Prefix
	match    *ByteMatch
}

// wafGate asks the web ACL: a block is 403; a question that fails is 500 unless waf.fail_open.enabled (alb.md section 7). What was
// asked stands in front of the actions in the access log: D ACC, waf and waf-failed. That a web ACL is asked before the rules are
// looked at, and not behind them, is assumed.
func wafGate(x *exchange) int {
	acl := x.s.plan.webACL
	switch {
	case acl == nil:
		return 0
	case acl.unavailable:
		if x.rec.did("waf-failed"); x.s.plan.set.wafFailOpen {
			return 0
		}
		x.rec.priority = -1
		return 500
	}
	if x.rec.did("waf"); !acl.block(x.req) {
		return 0
	}
	x.rec.priority = -1
	return 403
}

func (a *webACL) block(r *request) bool {
	return a.blocks || slices.ContainsFunc(a.rules, func(one webACLRule) bool { return one.fits(r) })
}

func (w webACLRule) fits(r *request) bool {
	if w.match == nil {
		ip := r.client.Addr().Unmap()
		return slices.ContainsFunc(w.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if w.match.FieldToMatch == "uri_path" {
		return w.match.found(r.path)
	}
	return slices.ContainsFunc(r.fields, func(f field) bool { return f.is(w.match.SingleHeader) && w.match.found(f.value) })
}

func (m *ByteMatch) found(in string) bool {
	switch m.PositionalConstraint {
	case "EXACTLY":
		return in == m.SearchString
	case "STARTS_WITH":
		return strings.HasPrefix(in, m.SearchString)
	case "ENDS_WITH":
		return strings.HasSuffix(in, m.SearchString)
	}
	return strings.Contains(in, m.SearchString)
}

func planWebACL(in *WebACL, faults *Faults) *webACL {
	if in == nil {
		return nil
	}
	out := &webACL{blocks: in.DefaultAction == "block", unavailable: in.Unavailable}
	if !slices.Contains([]string{"", "allow", "block"}, in.DefaultAction) {
		faults.add("web_acl.default_action", "%q: must be allow or block", in.DefaultAction)
	}
	for i, r := range in.Rules {
		at := "web_acl.rules[" + strconv.Itoa(i) + "]"
		if r.Name == "" || slices.ContainsFunc(in.Rules[:i], func(before WebACLRule) bool { return before.Name == r.Name }) {
			faults.add(at+".name", "%q: every rule has a name of its own", r.Name)
		}
		if (len(r.IPSet) > 0) == (r.ByteMatch != nil) {
			faults.add(at, "a rule has one statement, ip_set or byte_match")
			continue
		}
		one := webACLRule{match: r.ByteMatch, prefixes: planPrefixes(r.IPSet, at+".ip_set", faults)}
		if r.ByteMatch != nil {
			checkByteMatch(r.ByteMatch, at+".byte_match", faults)
		}
		out.rules = append(out.rules, one)
	}
	return out
}

func checkByteMatch(m *ByteMatch, path string, faults *Faults) {
	if m.FieldToMatch != "uri_path" && m.FieldToMatch != "single_header" {
		faults.add(path+".field_to_match", "%q: must be uri_path or single_header", m.FieldToMatch)
	}
	if (m.FieldToMatch == "single_header") != validToken(m.SingleHeader) {
		faults.add(path+".single_header", "%q: single_header needs the name of a field, and only it has one", m.SingleHeader)
	}
	if m.SearchString == "" || len(m.SearchString) > 200 { // D: API_ByteMatchStatement
		faults.add(path+".search_string", "must have from 1 to 200 bytes")
	}
	words := []string{"EXACTLY", "STARTS_WITH", "ENDS_WITH", "CONTAINS"}
	if !slices.Contains(words, m.PositionalConstraint) {
		faults.add(path+".positional_constraint", "%q: must be one of %s", m.PositionalConstraint, strings.Join(words, ", "))
	}
}

func planPrefixes(blocks []string, path string, faults *Faults) (out []netip.Prefix) {
	for i, v := range blocks {
		prefix, err := netip.ParsePrefix(v)
		if err != nil {
			faults.add(path+"["+strconv.Itoa(i)+"]", "%q: must be a CIDR block such as 10.0.0.0/8", v)
			continue
		}
		out = append(out, prefix)
	}
	return out
}
