package albsim

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDocumentOfTheDesignIsUnderstood(t *testing.T) {
	const doc = `{"profile":"aws-alb","attributes":{"idle_timeout.timeout_seconds":60,"client_keep_alive.seconds":3600,"routing.http2.enabled":true,
	 "routing.http.xff_header_processing.mode":"append","routing.http.xff_client_port.enabled":false,
	 "routing.http.preserve_host_header.enabled":false,
	 "routing.http.drop_invalid_header_fields.enabled":false,"routing.http.desync_mitigation_mode":"defensive",
	 "routing.http.x_amzn_tls_version_and_cipher_suite.enabled":false},
	 "listeners":[{"listen":"127.0.0.1:0","protocol":"HTTPS","certificates":[{"cert":"cert.pem","key":"key.pem"}],
	 "ssl_policy":"ELBSecurityPolicy-TLS13-1-2-2021-06",
	 "mutual_authentication":{"mode":"off","trust_store":"ca.pem"},"rules":[{"priority":10,
	 "conditions":[{"field":"path-pattern","values":["/img/*"]}],
	 "actions":[{"type":"fixed-response","status_code":404,"message_body":"no"}]}],"default":{"forward":"router"}}],
	 "target_groups":[{"name":"router","protocol":"HTTPS","protocol_version":"HTTP1","targets":["127.0.0.1:8443"],
	 "health_check":{"enabled":false}}],
	 "logs":{"access":"access.log","connection":"connection.log"}}`
	var cfg Config
	dec := json.NewDecoder(strings.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		t.Fatal(err)
	}
	cert := makeCert(t, nil, "a")
	dir := filepath.Dir(cert.Cert)
	cfg.Resolve(dir)
	if cfg.Listeners[0].Certificates[0] != cert || cfg.Logs.Access != filepath.Join(dir, "access.log") {
		t.Errorf("resolved to %+v, %+v", cfg.Listeners[0].Certificates[0], cfg.Logs)
	}
	s, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.plan.set.idle != time.Minute || s.plan.set.xffMode != "append" || !s.plan.set.http2 {
		t.Errorf("settings %+v", s.plan.set)
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	cfg := Config{
		Profile: "aws-abl",
		Attributes: map[string]any{
			"idle_timeout.timeout_secs": 60, "idle_timeout.timeout_seconds": 4001, "client_keep_alive.seconds": 1.5,
			"routing.http2.enabled": "maybe", "routing.http.desync_mitigation_mode": "lax", "deletion_protection.enabled": true,
		},
		Listeners: []Listener{
			{
				Listen: "nowhere", Protocol: "HTTPS", SSLPolicy: "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04",
				MutualAuthentication: MutualAuthentication{Mode: "verify"}, Default: Default{Forward: "ruoter"},
				Attributes: map[string]any{"tcp.idle_timeout.seconds": 60},
			},
			{
				Listen: "127.0.0.1:0", Protocol: "TLS",
				Default: Default{Actions: []Action{{Type: "authenticate-oidc"}, {Type: "forward", TargetGroup: "router"}}},
				Rules: []Rule{
					{Priority: 1, Conditions: []Condition{{Field: "path", Values: []string{"/"}}}, Actions: []Action{{Type: "redirect", StatusCode: 307}}},
					{
						Priority: 1, Conditions: []Condition{{Field: "source-ip", Values: []string{"10.0.0.1"}}, {Field: "http-header", Values: []string{"x"}}},
						Actions: []Action{{Type: "forward", TargetGroups: []WeightedTarget{{"router", 1000}}}},
					},
				},
			},
		},
		TargetGroups: []TargetGroup{
			{Name: "router", Protocol: "HTTPS", ProtocolVersion: "HTTP3", Targets: []string{"127.0.0.1"}, HealthCheck: HealthCheck{Enabled: true, IntervalSeconds: 4}},
			{Name: "router", Protocol: "TCP", Attributes: map[string]any{"slow_start.duration_seconds": 29}},
		},
	}
	_, err := New(cfg, Options{})
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error %T %v", err, err)
	}
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	for _, want := range []string{
		"profile", "attributes[idle_timeout.timeout_secs]", "attributes[idle_timeout.timeout_seconds]", "attributes[client_keep_alive.seconds]",
		"attributes[routing.http2.enabled]", "attributes[routing.http.desync_mitigation_mode]", "attributes[deletion_protection.enabled]",
		"listeners[0].listen", "listeners[0].certificates", "listeners[0].ssl_policy", "listeners[0].mutual_authentication.trust_store",
		"listeners[0].default.forward", "listeners[0].attributes[tcp.idle_timeout.seconds]",
		"listeners[1].protocol", "listeners[1].default.actions[0].type", "listeners[1].rules[0].conditions[0].field",
		"listeners[1].rules[0].actions[0].status_code",
		"listeners[1].rules[0].actions[0]", "listeners[1].rules[1].priority", "listeners[1].rules[1].conditions[0].values[0]",
		"listeners[1].rules[1].conditions[1].http_header_name", "listeners[1].rules[1].actions[0].target_groups",
		"target_groups[0].protocol_version", "target_groups[0].health_check.interval_seconds", "target_groups[0].targets[0]",
		"target_groups[1].protocol", "target_groups[1].attributes[slow_start.duration_seconds]", "target_groups[1].name",
	} {
		if !slices.Contains(paths, want) {
			t.Errorf("no fault at %s", want)
		}
	}
	for _, near := range []string{"did you mean aws-alb", "did you mean idle_timeout.timeout_seconds", "did you mean router"} {
		if !strings.Contains(err.Error(), near) {
			t.Errorf("no %q in\n%v", near, err)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestEveryProfileStatesItsEvidence(t *testing.T) {
	for _, name := range []string{
		"alpn-alert", "alpn-echo", "alpn-forced-http1", "aws-alb", "aws-nlb-tcp", "aws-nlb-tls", "azure-appgw", "caddy", "cloudflare", "cloudfront", "envoy",
		"eof-on-unknown-alpn", "gcp-l7", "haproxy", "header-scrubber", "hostile", "nginx", "traefik", "waf-single-token", "websocket-only",
		"ws-merging", "ws-refragmenting",
	} {
		if !slices.Contains(Profiles(), name) {
			t.Errorf("no profile %s", name)
		}
	}
	for _, name := range Profiles() {
		p, _ := LookupProfile(name)
		knobs := p.Knobs()
		if len(knobs) != len(p.Evidence) {
			t.Errorf("%s: %d knobs, evidence for %d", name, len(knobs), len(p.Evidence))
		}
		for _, k := range knobs {
			if !slices.Contains([]string{"D", "O", "S", "I", "A", "unknown"}, k.Grade) {
				t.Errorf("%s: %s has grade %q", name, k.Name, k.Grade)
			}
			if k.Source == "" {
				t.Errorf("%s: %s has no source", name, k.Name)
			}
			for word := range strings.FieldsSeq(k.Value) {
				if k.Words != nil && !slices.Contains(k.Words, word) {
					t.Errorf("%s: %s is %q, want one of %q", name, k.Name, word, k.Words)
				}
			}
		}
	}
}

func TestADerivedProfileClaimsOnlyWhatItGrades(t *testing.T) {
	p := derive(awsALB(), "other", "")
	p.grade("HalfClose", "S", "its source")
	for _, k := range p.Knobs() {
		want := "A"
		if k.Name == "HalfClose" {
			want = "S"
		}
		if k.Grade != want {
			t.Errorf("%s has grade %s, want %s", k.Name, k.Grade, want)
		}
	}
	if e := awsALB().Evidence["HalfClose"]; e.Grade != "unknown" {
		t.Errorf("grading the copy has changed the original: %+v", e)
	}
}

func TestALB_RULE_01_LowestPriorityFirstDefaultLast(t *testing.T) {
	m := start(t, ruled([]Rule{
		fixed(20, 201, Condition{Field: "path-pattern", Values: []string{"/a*"}}),
		fixed(10, 202, Condition{Field: "path-pattern", Values: []string{"/ab*"}}),
	}), Options{})
	for path, want := range map[string]int{"/abc": 202, "/ac": 201, "/x": 404} {
		if status, _, _ := m.request("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
}

func fixed(priority, status int, conditions ...Condition) Rule {
	return Rule{Priority: priority, Conditions: conditions, Actions: []Action{{Type: "fixed-response", StatusCode: status, MessageBody: "m"}}}
}

func ruled(rules []Rule) Config {
	return Config{Listeners: []Listener{{
		Listen: "127.0.0.1:0", Protocol: "HTTP", Rules: rules,
		Default: Default{Actions: []Action{{Type: "fixed-response", StatusCode: 404}}},
	}}}
}

func TestALB_RULE_02_03_Conditions(t *testing.T) {
	cond := func(field string, values ...string) Condition { return Condition{Field: field, Values: values} }
	header := Condition{Field: "http-header", HTTPHeaderName: "X-Kind", Values: []string{"one*"}}
	for _, c := range []struct {
		name      string
		condition Condition
		raw       string
		met       bool
	}{
		{"path case", cond("path-pattern", "/Img/*"), "GET /img/x HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"path", cond("path-pattern", "/img/?.png"), "GET /img/x.png HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"query is no path", cond("path-pattern", "*q=1"), "GET /?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"host case", cond("host-header", "*.Example.com"), "GET / HTTP/1.1\r\nHost: A.example.COM:80\r\n\r\n", true},
		{"host wildcard needs a label", cond("host-header", "*.example.com"), "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", false},
		{"header case", header, "GET / HTTP/1.1\r\nHost: a\r\nx-kind: ONE-two\r\n\r\n", true},
		{"query case", cond("query-string", "Version=V1"), "GET /?x&version=v1 HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"query any key", cond("query-string", "*v1*"), "GET /?x=av1b HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"method", cond("http-request-method", "PURGE"), "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"method case", cond("http-request-method", "GET"), "get / HTTP/1.1\r\nHost: a\r\n\r\n", false},
		{"RULE-03 peer", cond("source-ip", "127.0.0.0/8"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"RULE-03 forged", cond("source-ip", "10.0.0.0/8"), "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", false},
	} {
		m := start(t, ruled([]Rule{fixed(1, 200, c.condition)}), Options{})
		if status, _, _ := m.request(c.raw); (status == 200) != c.met {
			t.Errorf("%s: status %d, want met %v", c.name, status, c.met)
		}
	}
}

func TestALB_RULE_04_RedirectPlaceholders(t *testing.T) {
	query := "k=#{query}"
	m := start(t, ruled([]Rule{
		{
			Priority: 1, Conditions: []Condition{{Field: "path-pattern", Values: []string{"/old/*"}}},
			Actions: []Action{{Type: "redirect", StatusCode: 302, Host: "new.#{host}", Path: "/moved/#{path}", Query: &query}},
		},
		{
			Priority: 2, Conditions: []Condition{{Field: "path-pattern", Values: []string{"/*"}}},
			Actions: []Action{{Type: "redirect", StatusCode: 301, Protocol: "HTTPS", Port: "443"}},
		},
	}), Options{AdvertisedPort: 80})
	status, head, body := m.request("GET /old/a?b HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if got := fieldOf(head, "Location"); status != 302 || got != "http://new.a.test:80/moved/old/a?k=b" ||
		!strings.Contains(body, "<h1>302 Found</h1>") {
		t.Errorf("%d %s %q", status, got, body)
	}
	// A placeholder in the request itself stays text.
	status, head, body = m.request("GET /x#{host}?y HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if got := fieldOf(head, "Location"); status != 301 ||
		got != "https://a.test:443/x?y" && got != "https://a.test:443/x#{host}?y" || len(body) != 134 {
		t.Errorf("%d %s, %d bytes", status, got, len(body))
	}
}
