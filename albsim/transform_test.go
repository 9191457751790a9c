package albsim

import (
	"net/http"
	"strings"
	"testing"
)

func onPath(pattern string) []Condition {
	return []Condition{{Field: "path-pattern", Values: []string{pattern}}}
}

func hostRewrite(regex, replace string) Transform {
	return Transform{Type: "host-header-rewrite", HostHeaderRewriteConfig: &Rewrites{Rewrites: []Rewrite{{regex, replace}}}}
}

func urlRewrite(regex, replace string) Transform {
	return Transform{Type: "url-rewrite", URLRewriteConfig: &Rewrites{Rewrites: []Rewrite{{regex, replace}}}}
}

// quoted splits a line of the access log with its quotes in mind.
func quoted(fields []string) (out []string) {
	line := strings.Join(fields, " ")
	for line != "" {
		end := " "
		if line[0] == '"' {
			line, end = line[1:], `"`
		}
		one, rest, _ := strings.Cut(line, end)
		out, line = append(out, one), strings.TrimPrefix(rest, " ")
	}
	return out
}

// Fields of the access log, counted from 0, behind which quotes have been taken off.
const (
	logStatus, logRequest, logPriority, logActions, logReason = 8, 12, 20, 22, 24
	logHost, logURI, logTransform                             = 30, 31, 32
)

func TestTransformsChangeWhatTheTargetSees(t *testing.T) {
	for name, c := range map[string]struct {
		transforms         []Transform
		target             string
		line, host         string // what the target gets
		logged, uri, state string
	}{
		"host and URL, as in AWS's guide": {
			[]Transform{hostRewrite("^mywebsite-(.+).com$", "internal.dev.$1.myweb.com"), urlRewrite("^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1")},
			"/dp/B09", "GET /product.php?id=B09 HTTP/1.1", "internal.dev.example.myweb.com",
			"internal.dev.example.myweb.com", "/product.php?id=B09", "TransformSuccess",
		},
		"a path alone":    {[]Transform{urlRewrite("^([^?]*)", "/new")}, "/old/x?a=b", "GET /new?a=b HTTP/1.1", "mywebsite-example.com", "-", "/new?a=b", "TransformSuccess"},
		"the first match": {[]Transform{urlRewrite("a", "$0$0")}, "/aa", "GET /aaa HTTP/1.1", "mywebsite-example.com", "-", "/aaa", "TransformSuccess"},
		"an absent group": {[]Transform{urlRewrite("/(x)?y", "/$1z")}, "/y", "GET /z HTTP/1.1", "mywebsite-example.com", "-", "/z", "TransformSuccess"},
		"no match":        {[]Transform{hostRewrite("^b$", "c"), urlRewrite("^/z", "/")}, "/y?q", "GET /y?q HTTP/1.1", "mywebsite-example.com", "-", "-", "-"},
		"an absolute target": {
			[]Transform{hostRewrite("^.*$", "other:8443")}, "http://MyWebsite-example.com/p?q", "GET /p?q HTTP/1.1", "other:8443", "other:8443", "-", "TransformSuccess",
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := newStub(t, nil, ok)
			cfg := plain(target.addr)
			cfg.Listeners[0].Rules = []Rule{{
				Priority: 1, Conditions: onPath("/*"), Transforms: c.transforms, Actions: []Action{{Type: "forward", TargetGroup: "t"}},
			}}
			m := start(t, cfg, Options{AdvertisedPort: 80})
			m.request("GET " + c.target + " HTTP/1.1\r\nHost: MyWebsite-example.com\r\n\r\n")
			head := target.head(t)
			if line, _, _ := strings.Cut(head, "\r\n"); line != c.line || fieldOf(head, "Host") != c.host {
				t.Errorf("the target got %q", head)
			}
			line := quoted(m.logLines(1)[0])
			if line[logHost] != c.logged || line[logURI] != c.uri || line[logTransform] != c.state || !strings.Contains(line[logRequest], strings.TrimPrefix(c.target, "http://MyWebsite-example.com")) {
				t.Errorf("the access log has %q", line)
			}
		})
	}
}

func TestTransformKeepsThePortOfAnotherListener(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Listeners[0].Rules = []Rule{{
		Priority: 1, Conditions: onPath("/*"), Transforms: []Transform{hostRewrite("^a$", "b")}, Actions: []Action{{Type: "forward", TargetGroup: "t"}},
	}}
	m := start(t, cfg, Options{AdvertisedPort: 8080})
	m.request("GET / HTTP/1.1\r\nHost: a:8080\r\n\r\n")
	if head := target.head(t); fieldOf(head, "Host") != "b:8080" {
		t.Errorf("the target got %q", head)
	}
}

func TestTransformReachesAnHTTP2Target(t *testing.T) {
	got := make(chan *http.Request, 1)
	target := h2Target(t, false, func(w http.ResponseWriter, r *http.Request) { got <- r })
	cfg := secure(t, target)
	cfg.TargetGroups[0].ProtocolVersion = "HTTP2"
	cfg.Listeners[0].Rules = []Rule{{
		Priority: 1, Conditions: onPath("/*"), Actions: []Action{{Type: "forward", TargetGroup: "t"}},
		Transforms: []Transform{hostRewrite("^.*$", "b"), urlRewrite("^/old", "/new")},
	}}
	m := start(t, cfg, Options{AdvertisedPort: 443})
	resp, err := h2Transport(t).RoundTrip(httpRequest(t, "https://"+m.addr+"/old/x?y=z"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if r := <-got; r.Host != "b" || r.URL.RequestURI() != "/new/x?y=z" {
		t.Errorf("the target got %s %s", r.Host, r.URL.RequestURI())
	}
}

func TestTransformThatFailsIs500(t *testing.T) {
	for name, c := range map[string]struct {
		transform Transform
		state     string
	}{
		"no slash":     {urlRewrite("^/", ""), "TransformInvalidPath"},
		"a blank":      {urlRewrite("^/", "/ HTTP/1.1"), "TransformInvalidPath"},
		"too long":     {urlRewrite("^/(.*)$", "/"+strings.Repeat("$1", 500)), "TransformInvalidPath"},
		"no host":      {hostRewrite("^.*$", ""), "TransformInvalidHost"},
		"a second one": {hostRewrite("^.*$", "a, b"), "TransformInvalidHost"},
	} {
		t.Run(name, func(t *testing.T) {
			target := newStub(t, nil, ok)
			cfg := plain(target.addr)
			cfg.Listeners[0].Rules = []Rule{{
				Priority: 1, Conditions: onPath("/*"), Transforms: []Transform{c.transform}, Actions: []Action{{Type: "forward", TargetGroup: "t"}},
			}}
			m := start(t, cfg, Options{})
			status, _, body := m.request("GET /" + strings.Repeat("p", 100) + " HTTP/1.1\r\nHost: a\r\n\r\n")
			if status != 500 || !strings.Contains(body, "500 Internal Server Error") || target.accepts.Load() != 0 {
				t.Errorf("status %d, %d connections to the target", status, target.accepts.Load())
			}
			line := quoted(m.logLines(1)[0])
			if line[logStatus] != "500" || line[logTransform] != c.state || line[logActions] != "forward" || line[logReason] != "-" {
				t.Errorf("the access log has %q", line)
			}
		})
	}
}

func TestTransformsAreChecked(t *testing.T) {
	for want, transforms := range map[string][]Transform{
		"transforms[0].type": {{Type: "url-rewrit"}},
		"transforms[0].url_rewrite_config: url-rewrite needs":                 {{Type: "url-rewrite"}},
		"transforms[0].host_header_rewrite_config: host-header-rewrite needs": {{Type: "host-header-rewrite", URLRewriteConfig: urlRewrite("a", "b").URLRewriteConfig}},
		"at most one url-rewrite":                                             {urlRewrite("a", "b"), urlRewrite("c", "d")},
		"must be a regular expression of at most 1024":                        {urlRewrite("", "b")},
		"rewrites[0].regex: must be":                                          {urlRewrite(strings.Repeat("a", 1025), "b")},
		"rewrites[0].replace: longer":                                         {urlRewrite("a", strings.Repeat("a", 1025))},
		"$2: the expression has 1 groups":                                     {urlRewrite("(a)", "$2")},
		"the number of a group":                                               {urlRewrite("(a)", "${1}")},
		"missing closing":                                                     {urlRewrite("(a", "")},
		"invalid or unsupported Perl syntax":                                  {urlRewrite("a(?=b)", "")},
		"invalid escape sequence":                                             {urlRewrite(`(a)\1`, "")},
		"Unicode character classes":                                           {urlRewrite(`\\\p{L}`, "")},
	} {
		_, err := New(ruled([]Rule{{Priority: 1, Conditions: onPath("/"), Actions: fixed(1, 200).Actions, Transforms: transforms}}), Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := New(ruled([]Rule{{Priority: 1, Conditions: onPath("/"), Actions: fixed(1, 200).Actions, Transforms: []Transform{urlRewrite(`\\pages`, "$0")}}}), Options{}); err != nil {
		t.Errorf("an escaped backslash before a p: %v", err)
	}
}

func TestRegexConditions(t *testing.T) {
	for name, c := range map[string]struct {
		condition Condition
		raw       string
		met       bool
	}{
		"path":            {Condition{Field: "path-pattern", RegexValues: []string{"^/api/v[0-9]+/"}}, "GET /api/v12/x HTTP/1.1\r\nHost: a\r\n\r\n", true},
		"path's case":     {Condition{Field: "path-pattern", RegexValues: []string{"^/api"}}, "GET /API HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"not the query":   {Condition{Field: "path-pattern", RegexValues: []string{"q"}}, "GET /?q HTTP/1.1\r\nHost: a\r\n\r\n", false},
		"host":            {Condition{Field: "host-header", RegexValues: []string{"^a[0-9]\\.test$"}}, "GET / HTTP/1.1\r\nHost: A7.TEST:80\r\n\r\n", true},
		"header":          {Condition{Field: "http-header", HTTPHeaderName: "User-Agent", RegexValues: []string{"curl|wget"}}, "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x curl/8\r\n\r\n", true},
		"beside a value":  {Condition{Field: "path-pattern", Values: []string{"/b"}, RegexValues: []string{"^/a$"}}, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", true},
		"neither of them": {Condition{Field: "path-pattern", Values: []string{"/b"}, RegexValues: []string{"^/a$"}}, "GET /c HTTP/1.1\r\nHost: a\r\n\r\n", false},
	} {
		m := start(t, ruled([]Rule{fixed(1, 200, c.condition)}), Options{})
		if status, _, _ := m.request(c.raw); (status == 200) != c.met {
			t.Errorf("%s: status %d, want met %v", name, status, c.met)
		}
	}
	for want, c := range map[string]Condition{
		"query-string has none":     {Field: "query-string", RegexValues: []string{"a"}},
		"of at most 128":            {Field: "path-pattern", RegexValues: []string{strings.Repeat("a", 129)}},
		"4 values, and a condition": {Field: "path-pattern", Values: []string{"/a", "/b"}, RegexValues: []string{"c", "d"}},
		"at least one":              {Field: "path-pattern"},
	} {
		if _, err := New(ruled([]Rule{fixed(1, 200, c)}), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func httpRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
