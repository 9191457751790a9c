package albsim

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// TestWhatAWSRefusesIsRefusedWithItsReason goes up to each quota, and one beyond.
func TestWhatAWSRefusesIsRefusedWithItsReason(t *testing.T) {
	cert := makeCert(t, nil, "a")
	on := func(field string, values ...string) Condition { return Condition{Field: field, Values: values} }
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("/%d", i))
		}
		return out
	}
	rules := func(n int) Config {
		var list []Rule
		for i := range n {
			list = append(list, fixed(i+1, 200, on("path-pattern", "/x")))
		}
		return ruled(list)
	}
	conditions := func(c ...Condition) Config { return ruled([]Rule{fixed(1, 200, c...)}) }
	certificates := func(beside int, defaults ...int) Config {
		cfg := ruled(nil)
		cfg.Listeners[0].Protocol = "HTTPS"
		cfg.Listeners[0].Certificates = slices.Repeat([]Certificate{cert}, beside+1)
		for _, i := range defaults {
			cfg.Listeners[0].Certificates[i].Default = true
		}
		return cfg
	}
	listeners := func(n int) Config {
		cfg := ruled(nil)
		cfg.Listeners = slices.Repeat(cfg.Listeners, n)
		return cfg
	}
	targets := func(n int) Config {
		cfg := plain("127.0.0.1:1")
		cfg.TargetGroups[0].Targets = nil
		for i := range n {
			cfg.TargetGroups[0].Targets = append(cfg.TargetGroups[0].Targets, fmt.Sprintf("127.0.0.1:%d", i+1))
		}
		return cfg
	}
	groups := func(n int) Config {
		cfg := plain("127.0.0.1:1")
		for i := range n - 1 {
			cfg.TargetGroups = append(cfg.TargetGroups, TargetGroup{Name: fmt.Sprint(i), Protocol: "HTTP"})
		}
		return cfg
	}
	header := func(name string) Condition {
		return Condition{Field: "http-header", HTTPHeaderName: name, Values: []string{"x"}}
	}
	for _, c := range []struct {
		cfg  Config
		want string // in the fault; empty for none
	}{
		{certificates(25), ""},
		{certificates(26), "TooManyCertificates: 26 certificates beside the default ones, and a load balancer has at most 25"},
		{certificates(1, 1), ""},
		{certificates(2, 1, 2), "listeners[0].certificates[2].default: a listener has one default certificate"},
		{rules(100), ""},
		{rules(101), "TooManyRules: 101 rules"},
		{listeners(50), ""},
		{listeners(51), "TooManyListeners: 51 listeners"},
		{targets(1000), ""},
		{targets(1001), "TooManyTargets: 1001 targets"},
		{groups(100), ""},
		{groups(101), "TooManyUniqueTargetGroupsPerLoadBalancer: 101 target groups"},
		{conditions(on("path-pattern", many(3)...), on("host-header", "a", "b")), ""},
		{conditions(on("path-pattern", many(4)...)), "conditions[0].values: 4 values, and a condition has at most 3"},
		{conditions(on("path-pattern", many(3)...), on("host-header", many(3)...)), "conditions: 6 values, and a rule has at most 5"},
		{conditions(on("path-pattern", "/*/*/?"), on("host-header", "*.a.*")), ""},
		{conditions(on("path-pattern", "/*/*/?"), on("host-header", "*.?.*")), "conditions: 6 wildcards, and a rule has at most 5"},
		{conditions(on("path-pattern", "/"+strings.Repeat("x", 127))), ""},
		{conditions(on("path-pattern", "/"+strings.Repeat("x", 128))), "values[0]: longer than 128 characters"},
		{conditions(on("path-pattern", "/a\x00")), "control characters are not allowed"},
		{conditions(on("path-pattern", "")), "values[0]: is empty"},
		{conditions(on("http-request-method", "M-SEARCH")), ""},
		{conditions(on("http-request-method", "GE*")), "no wildcard"},
		{conditions(header("X-A")), ""},
		{conditions(header("X-*")), "without wildcards"},
	} {
		_, err := New(c.cfg, Options{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

func TestTheDefaultCertificateIsTheOneThatSaysSo(t *testing.T) {
	cfg := secure(t, "127.0.0.1:1")
	second := makeCert(t, nil, "second.example.test")
	second.Default = true
	cfg.Listeners[0].Certificates = append(cfg.Listeners[0].Certificates, second)
	if got := start(t, cfg, Options{}).plan.listeners[0].certs[0].Leaf.DNSNames[0]; got != "second.example.test" {
		t.Errorf("the default is of %s", got)
	}
}

func TestAPolicyThatLacksSuitesIsSaidAloud(t *testing.T) {
	cfg := secure(t, "127.0.0.1:1")
	for policy, want := range map[string]string{
		"":                                    "ELBSecurityPolicy-2016-08 is kept but for ECDHE-*-AES256-SHA384, AES256-SHA256",
		"ELBSecurityPolicy-TLS13-1-2-2021-06": "ELBSecurityPolicy-TLS13-1-2-2021-06 is kept but for ECDHE-*-AES256-SHA384",
		"ELBSecurityPolicy-TLS13-1-2-Res-2021-06": "",
		"ELBSecurityPolicy-TLS13-1-3-2021-06":     "",
	} {
		cfg.Listeners[0].SSLPolicy = policy
		var log bytes.Buffer
		s, err := New(cfg, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(s.Notes(), "\n")
		if want == "" && notes+log.String() != "" || !strings.Contains(notes, want) || !strings.Contains(log.String(), want) {
			t.Errorf("%s: notes %q, log %q", policy, notes, &log)
		}
	}
	for _, policy := range []string{"ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09"} {
		cfg.Listeners[0].SSLPolicy = policy
		if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "is not simulated") {
			t.Errorf("%s: %v", policy, err)
		}
	}
}
