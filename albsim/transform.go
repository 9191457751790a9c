package albsim

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Transforms follow AWS's guide, page rule-transforms (alb.md section 8, XFORM): the rule is met first, by the request as it came;
// one rewrite of each type; no match leaves the request as it is; a match that cannot be carried out is 500. That the text of
// url-rewrite includes the query and that the first match alone is replaced is inferred: the AWS Load Balancer Controller writes
// ^([^?]*) to replace a whole path (its issue 4688). What makes a rewrite fail is assumed: a result that is no host or no URL.

// transforms are those of a rule; nil is none.
type transforms struct{ host, url *rewriting }

type rewriting struct {
	regex   *regexp.Regexp
	replace []piece
}

// piece is a text, or what a group has matched.
type piece struct {
	text  string
	group int // -1 for a text
}

// rewritten is what the access log has of it, and the request line as it came.
type rewritten struct{ host, uri, status, asked string }

// The words of request_transform_status are assumed but for the dash of a request without a transform.
const (
	transformDone        = "TransformSuccess"
	transformInvalidHost = "TransformInvalidHost"
	transformInvalidPath = "TransformInvalidPath"
)

// transform has the target see another host or URL; false is a match that came to nothing.
func (x *exchange) transform(t *transforms) bool {
	if t.host == nil && t.url == nil {
		return true
	}
	seen, out := x.req, &x.rec.rewritten
	out.asked = x.rec.requestLine()
	if t.host != nil {
		if to, ok := t.host.apply(strings.ToLower(hostOnly(seen.host)), 255); ok {
			if !rewrittenHost(to) {
				out.status = transformInvalidHost
				return false
			}
			seen.host, seen.toHost, out.status = to, to, transformDone
			if hostOnly(to) == to {
				seen.toHost = publicHost(seen)
			}
			out.host = seen.toHost
		}
	}
	uri := seen.path
	if seen.query != "" {
		uri += "?" + seen.query
	}
	if t.url != nil {
		if to, ok := t.url.apply(uri, x.s.plan.profile.MaxRequestLine); ok {
			if !rewrittenURI(to) {
				out.status = transformInvalidPath
				return false
			}
			uri, out.uri, out.status = to, to, transformDone
		}
	}
	if out.status != "" { // an absolute target would name the old host
		seen.target = uri
		seen.path, seen.query, _ = strings.Cut(uri, "?")
	}
	return true
}

// apply is false for a text without a match. A result over most bytes, if there is such a bound, is empty, which nothing takes.
func (r *rewriting) apply(text string, most int) (string, bool) {
	at := r.regex.FindStringSubmatchIndex(text)
	if at == nil {
		return "", false
	}
	var out strings.Builder
	out.WriteString(text[:at[0]])
	for _, p := range r.replace {
		switch {
		case p.group < 0:
			out.WriteString(p.text)
		case at[2*p.group] >= 0:
			out.WriteString(text[at[2*p.group]:at[2*p.group+1]])
		}
		if most > 0 && out.Len() > most {
			return "", true
		}
	}
	out.WriteString(text[at[1]:])
	if most > 0 && out.Len() > most {
		return "", true
	}
	return out.String(), true
}

// rewrittenHost tells whether a text may stand in a Host field.
func rewrittenHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c >= 0x80 || !awsName(string(c)) && !strings.ContainsRune("._:[]", c)
	})
}

// rewrittenURI tells whether a text may stand in a request line.
func rewrittenURI(s string) bool {
	return s == "*" || strings.HasPrefix(s, "/") && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' })
}

func planTransforms(in []Transform, path string, faults *Faults) (out transforms) {
	for i, t := range in {
		at := path + "[" + strconv.Itoa(i) + "]"
		var to **rewriting
		var config, other *Rewrites
		word := "host_header_rewrite_config"
		switch t.Type {
		case "host-header-rewrite":
			to, config, other = &out.host, t.HostHeaderRewriteConfig, t.URLRewriteConfig
		case "url-rewrite":
			to, config, other = &out.url, t.URLRewriteConfig, t.HostHeaderRewriteConfig
			word = "url_rewrite_config"
		default:
			faults.add(at+".type", "%q: no such transform%s", t.Type, didYouMean(t.Type, []string{"host-header-rewrite", "url-rewrite"}))
			continue
		}
		if slices.ContainsFunc(in[:i], func(before Transform) bool { return before.Type == t.Type }) {
			faults.add(at+".type", "a rule has at most one %s", t.Type)
		}
		if config == nil || len(config.Rewrites) != 1 || other != nil {
			faults.add(at+"."+word, "%s needs this one, with one rewrite", t.Type)
			continue
		}
		*to = planRewrite(config.Rewrites[0], at+"."+word+".rewrites[0]", faults)
	}
	return out
}

// maxRewrite is D: API_RewriteConfig, of both texts.
const maxRewrite = 1024

func planRewrite(r Rewrite, path string, faults *Faults) *rewriting {
	regex := planRegex(r.Regex, maxRewrite, path+".regex", faults)
	if len(r.Replace) > maxRewrite {
		faults.add(path+".replace", "longer than %d characters", maxRewrite)
	}
	if regex == nil {
		return nil
	}
	out := &rewriting{regex: regex}
	rest := r.Replace
	for {
		text, behind, found := strings.Cut(rest, "$")
		if text != "" {
			out.replace = append(out.replace, piece{text: text, group: -1})
		}
		if !found {
			return out
		}
		if behind == "" || !digit(behind[0]) {
			faults.add(path+".replace", "a $ stands before the number of a group")
			return out
		}
		group := int(behind[0] - '0')
		if group > regex.NumSubexp() {
			faults.add(path+".replace", "$%d: the expression has %d groups", group, regex.NumSubexp())
			return out
		}
		out.replace = append(out.replace, piece{group: group})
		rest = behind[1:]
	}
}

// planRegex takes what AWS's guide (listener-rules) leaves of regular expressions: RE2 has neither lookaround nor backreferences,
// atomic groups, possessive quantifiers, subroutines and recursion; that leaves the Unicode classes.
func planRegex(expr string, most int, path string, faults *Faults) *regexp.Regexp {
	if expr == "" || len(expr) > most {
		faults.add(path, "must be a regular expression of at most %d characters", most)
		return nil
	}
	for i := 0; i+1 < len(expr); i++ {
		if expr[i] == '\\' {
			if i++; expr[i]|0x20 == 'p' {
				faults.add(path, "%q: Unicode character classes are not supported", expr)
				return nil
			}
		}
	}
	r, err := regexp.Compile(expr)
	if err != nil {
		faults.add(path, "%v", err)
		return nil
	}
	return r
}
