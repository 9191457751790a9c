package albsim

import (
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is tried in order of priority; the default has priority 0 and no conditions, and stands last.
type rule struct {
	priority   int
	conditions []condition
	action     action
	transforms transforms
}

type condition struct {
	field, header string
	values        []string
	regexes       []*regexp.Regexp
	prefixes      []netip.Prefix
}

type action struct {
	Action
	kind   string
	guard  guard // what is done first; nil for nothing
	groups []share
	// groupLife is how long a client stays with its group; 0 is not at all.
	groupLife time.Duration
}

type share struct {
	group  *group
	weight int
}

// match returns the first rule whose conditions are all met, and how many were evaluated but for the default. Rules see the
// request once: nothing of a tunnel.
func match(rules []rule, req *request) (met *rule, evaluated int) {
	last := len(rules) - 1 // the default, which has no conditions
	for i := range last {
		if !slices.ContainsFunc(rules[i].conditions, func(c condition) bool { return !c.met(req) }) {
			return &rules[i], i + 1
		}
	}
	return &rules[last], last
}

// met follows alb.md section 8: paths and methods are case-sensitive, host, header values and query are not; the path is
// without its query; source-ip is the TCP peer whatever X-Forwarded-For says.
func (c condition) met(req *request) bool {
	switch c.field {
	case "path-pattern":
		return anyGlob(c.values, req.path, false) || c.anyRegex(req.path)
	case "host-header":
		host := strings.ToLower(hostOnly(req.host))
		return anyGlob(c.values, host, true) || c.anyRegex(host)
	case "http-header":
		for _, f := range req.fields {
			if f.is(c.header) && (anyGlob(c.values, f.value, true) || c.anyRegex(f.value)) {
				return true
			}
		}
	case "http-request-method":
		return slices.Contains(c.values, req.method)
	case "query-string":
		return queryMatches(c.values, req.query)
	case "source-ip":
		ip := req.client.Addr().Unmap()
		return slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	return false
}

func (c condition) anyRegex(s string) bool {
	return slices.ContainsFunc(c.regexes, func(r *regexp.Regexp) bool { return r.MatchString(s) })
}

func anyGlob(patterns []string, s string, fold bool) bool {
	if fold {
		s = strings.ToLower(s)
	}
	for _, p := range patterns {
		if fold {
			p = strings.ToLower(p)
		}
		if glob(p, s) {
			return true
		}
	}
	return false
}

// glob knows * (any run of bytes, / included) and ? (one byte). It backtracks to the last star only: linear in practice,
// len(pattern)*len(s) at worst, both of which are bounded.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

func queryMatches(values []string, query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		key, val, _ := strings.Cut(pair, "=")
		for _, want := range values {
			wantKey, wantVal, keyed := strings.Cut(want, "=")
			if !keyed {
				if query != "" && anyGlob([]string{want}, val, true) {
					return true
				}
				continue
			}
			if anyGlob([]string{wantKey}, key, true) && anyGlob([]string{wantVal}, val, true) {
				return true
			}
		}
	}
	return false
}

// chooseGroup draws a target group by weight; nil when every weight is 0.
func (a action) chooseGroup() *group {
	total := 0
	for _, s := range a.groups {
		total += s.weight
	}
	if total == 0 {
		return nil
	}
	n := rand.IntN(total)
	for _, s := range a.groups {
		if n < s.weight {
			return s.group
		}
		n -= s.weight
	}
	return nil
}

func checkRedirect(a Action, protocol, path string, faults *Faults) {
	if a.StatusCode != 301 && a.StatusCode != 302 {
		faults.add(path+".status_code", "%d: must be 301 or 302", a.StatusCode)
	}
	switch a.Protocol {
	case "", "#{protocol}", "HTTPS":
	case "HTTP":
		if protocol == "HTTPS" {
			faults.add(path+".protocol", "a redirect from HTTPS to HTTP is not allowed")
		}
	default:
		faults.add(path+".protocol", "%q: must be HTTP, HTTPS or #{protocol}", a.Protocol)
	}
	if a.Port != "" && a.Port != "#{port}" {
		if n, err := strconv.Atoi(a.Port); err != nil || n < 1 || n > 65535 {
			faults.add(path+".port", "%q: must be from 1 to 65535 or #{port}", a.Port)
		}
	}
	if a.Path != "" && !strings.HasPrefix(a.Path, "/") {
		faults.add(path+".path", "%q: must begin with /", a.Path)
	}
	same := func(s, placeholder string) bool { return s == "" || s == placeholder }
	if (same(a.Protocol, "#{protocol}") || a.Protocol == protocol) &&
		same(a.Host, "#{host}") && same(a.Port, "#{port}") && same(a.Path, "/#{path}") {
		faults.add(path, "a redirect must change protocol, host, port or path, or it would loop")
	}
}

// maxLocation is D, CW: a redirect action cannot be completed "because the URL in the response location header is larger than 8K",
// which HTTP_Redirect_Url_Limit_Exceeded_Count counts and 507 says (TRB).
const maxLocation = 8 << 10

// location builds a redirect's target. #{path} is without its leading slash and #{query} without its question mark.
func (a action) location(req *request) string {
	protocol := "HTTP"
	if req.secure {
		protocol = "HTTPS"
	}
	port := strconv.Itoa(req.port)
	// One pass: what a request brings in is never expanded again.
	expand := strings.NewReplacer("#{protocol}", protocol, "#{host}", hostOnly(req.host), "#{port}", port,
		"#{path}", strings.TrimPrefix(req.path, "/"), "#{query}", req.query).Replace
	or := func(s, def string) string {
		if s == "" {
			s = def
		}
		return expand(s)
	}
	query := "#{query}"
	if a.Query != nil {
		query = *a.Query
	}
	location := strings.ToLower(or(a.Protocol, "#{protocol}")) + "://" +
		or(a.Host, "#{host}") + ":" + or(a.Port, "#{port}") + or(a.Path, "/#{path}")
	if q := expand(query); q != "" {
		location += "?" + q
	}
	return location
}
