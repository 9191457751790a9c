package albsim

import (
	"slices"
	"strings"
	"testing"
)

func TestAddedFieldsAreTheProfilesAlone(t *testing.T) {
	for _, c := range []struct {
		added []string
		sent  string
		want  []string // the lines that the target gets
	}{
		{nil, "", []string{"Host: A.test:8080"}},
		{nil, "X-Forwarded-For: 1.2.3.4\r\n", []string{"Host: A.test:8080", "X-Forwarded-For: 1.2.3.4"}},
		{
			[]string{"X-Forwarded-For", "Host", "X-Real-Ip"},
			"X-Forwarded-For: 1.2.3.4\r\nX-Real-Ip: 1.2.3.4\r\nX-Forwarded-Proto: gopher\r\n",
			[]string{"X-Forwarded-For: 1.2.3.4, 127.0.0.1", "Host: A.test:8080", "X-Real-Ip: 127.0.0.1", "X-Forwarded-Proto: gopher"},
		},
		{
			[]string{"X-Forwarded-Host", "Via", "Forwarded"},
			"Via: 1.0 fred\r\nForwarded: for=1.2.3.4\r\n",
			[]string{
				"Host: A.test:8080", "X-Forwarded-Host: A.test:8080", "Via: 1.0 fred, 1.1 test",
				`Forwarded: for=1.2.3.4, for=127.0.0.1;host="A.test:8080";proto=http`,
			},
		},
	} {
		target := newStub(t, nil, ok)
		cfg := plain(target.addr)
		func() {
			defer delete(profiles, "test")
			cfg.Profile = withKnobs(t, func(p *Profile) { p.AddedFields, p.HostField = c.added, "keep" })
			start(t, cfg, Options{}).request("GET / HTTP/1.1\r\nHost: A.test:8080\r\n" + c.sent + "\r\n")
		}()
		if got := strings.Split(strings.TrimSpace(target.head(t)), "\r\n")[1:]; !slices.Equal(got, c.want) {
			t.Errorf("added %q, sent %q: target got\n%q, want\n%q", c.added, c.sent, got, c.want)
		}
	}
}

func TestFieldNamesCanBeSpelledAnew(t *testing.T) {
	for how, want := range map[string]string{"keep": "x-CUSTOM", "lower": "x-custom", "canonical": "X-Custom"} {
		t.Run(how, func(t *testing.T) {
			target := newStub(t, nil, ok)
			cfg := plain(target.addr)
			cfg.Profile = withKnobs(t, func(p *Profile) { p.FieldNames = how })
			head := ask(t, start(t, cfg, Options{}), target, "x-CUSTOM: 1")
			if got := names(head); got[len(got)-1] != want {
				t.Errorf("target got %q", head)
			}
			if how == "lower" && slices.ContainsFunc(names(head), func(n string) bool { return n != strings.ToLower(n) }) {
				t.Errorf("target got %q", head)
			}
		})
	}
}

func TestFieldsCanBeDropped(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		c.expect("2\r\nhi\r\n0\r\n\r\n")
		ok(c, head)
	})
	const sent = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
	for _, c := range []struct {
		name             string
		drop, keep, want []string
	}{
		{"drop", []string{"x-two", "Transfer-Encoding"}, nil, []string{"Transfer-Encoding", "X-One", "X-Three"}},
		{"keep", nil, []string{"x-two"}, []string{"Transfer-Encoding", "X-Two"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := plain(target.addr)
			cfg.Profile = withKnobs(t, func(p *Profile) { p.AddedFields, p.DropFields, p.KeepOnlyFields = []string{"Host"}, c.drop, c.keep })
			if status, head, _ := start(t, cfg, Options{}).request(sent); status != 200 {
				t.Fatalf("got %q", head)
			}
			if got := names(target.head(t))[1:]; !slices.Equal(got, c.want) {
				t.Errorf("target got %q behind Host, want %q", got, c.want)
			}
		})
	}
}

func TestPageStyles(t *testing.T) {
	for style, want := range map[string][2]string{ // type and body of a 503
		"aws": {"text/html", "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n" +
			"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n</body>\r\n</html>\r\n"},
		"nginx": {"text/html", "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n" +
			"<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n<hr><center>one</center>\r\n</body>\r\n</html>\r\n"},
		"haproxy": {"text/html", "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"},
		"text":    {"text/plain; charset=utf-8", "Service Temporarily Unavailable\n"},
		"empty":   {"", ""},
	} {
		t.Run(style, func(t *testing.T) {
			cfg := plain("127.0.0.1:1")
			cfg.TargetGroups[0].Targets = nil
			cfg.Profile = withKnobs(t, func(p *Profile) { p.PageStyle, p.ServerHeader = style, "one" })
			_, head, body := start(t, cfg, Options{}).request(plainGet)
			if body != want[1] || fieldOf(head, "Content-Type") != want[0] || fieldOf(head, "Server") != "one" {
				t.Errorf("got %q %q", head, body)
			}
		})
	}
}

func TestConnectAndTraceCanPass(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.ConnectStatus, p.TraceStatus = 0, 0 })
	m := start(t, cfg, Options{})
	for _, request := range []string{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		if status, head, _ := m.request(request); status != 200 {
			t.Errorf("got %q", head)
		}
		if head := target.head(t); !strings.HasPrefix(head, strings.Fields(request)[0]+" ") {
			t.Errorf("target got %q", head)
		}
	}
}

func TestServerHeaderCanBeNone(t *testing.T) {
	cfg := plain("127.0.0.1:1")
	cfg.TargetGroups[0].Targets = nil
	cfg.Profile = withKnobs(t, func(p *Profile) { p.ServerHeader = "" })
	if _, head, _ := start(t, cfg, Options{}).request(plainGet); has(head, "Server") {
		t.Errorf("got %q", head)
	}
}

func TestForwardedForCanHaveAnyNumberOfAddresses(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.MaxForwardedFor = 0 })
	status, head, _ := start(t, cfg, Options{}).request(
		"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1" + strings.Repeat(", 1.1.1.1", 40) + "\r\n\r\n")
	if status != 200 {
		t.Errorf("got %q", head)
	}
}

// TestAnotherMakersBalancerShowsNothingOfAWS asks each of them for a request to its target and for a page of its own.
func TestAnotherMakersBalancerShowsNothingOfAWS(t *testing.T) {
	for _, name := range []string{"gcp-l7", "azure-appgw", "cloudfront", "cloudflare", "envoy", "nginx", "haproxy", "traefik", "caddy"} {
		t.Run(name, func(t *testing.T) {
			target := newStub(t, nil, ok)
			cfg := plain(target.addr)
			cfg.Profile = name
			cfg.TargetGroups = append(cfg.TargetGroups, TargetGroup{Name: "none", Protocol: "HTTP"})
			cfg.Listeners[0].Rules = []Rule{{
				Priority: 1, Conditions: []Condition{{Field: "path-pattern", Values: []string{"/none"}}},
				Actions: []Action{{Type: "forward", TargetGroup: "none"}},
			}}
			m := start(t, cfg, Options{})
			head := strings.ToLower(ask(t, m, target, "X-Forwarded-For: 1.1.1.1"+strings.Repeat(", 1.1.1.1", 40)))
			status, own, _ := m.request("GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
			if status != 503 || strings.Contains(head, "amzn") || strings.Contains(own, "awselb") {
				t.Errorf("target got %q, client got %q", head, own)
			}
		})
	}
}
