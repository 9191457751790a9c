package albsim

import (
	"strings"
	"testing"
)

func withACL(target string, acl WebACL) Config {
	cfg := plain(target)
	cfg.WebACL = &acl
	return cfg
}

func TestWebACLBlocksWith403(t *testing.T) {
	rules := []WebACLRule{
		{Name: "path", ByteMatch: &ByteMatch{FieldToMatch: "uri_path", SearchString: "/admin", PositionalConstraint: "STARTS_WITH"}},
		{Name: "agent", ByteMatch: &ByteMatch{FieldToMatch: "single_header", SingleHeader: "User-Agent", SearchString: "bot", PositionalConstraint: "CONTAINS"}},
		{Name: "end", ByteMatch: &ByteMatch{FieldToMatch: "uri_path", SearchString: ".php", PositionalConstraint: "ENDS_WITH"}},
		{Name: "all", ByteMatch: &ByteMatch{FieldToMatch: "uri_path", SearchString: "/exact", PositionalConstraint: "EXACTLY"}},
	}
	target := newStub(t, nil, ok)
	m := start(t, withACL(target.addr, WebACL{Rules: rules}), Options{})
	for i, c := range []struct {
		raw     string
		status  string
		actions string
	}{
		{"GET /admin/x HTTP/1.1\r\nHost: a\r\n\r\n", "403", "waf"},
		{"GET /Admin HTTP/1.1\r\nHost: a\r\n\r\n", "200", "waf,forward"},
		{"GET / HTTP/1.1\r\nHost: a\r\nuser-agent: a bot\r\n\r\n", "403", "waf"},
		{"GET / HTTP/1.1\r\nHost: a\r\nuser-agent: a BOT\r\n\r\n", "200", "waf,forward"},
		{"GET /x.php?y HTTP/1.1\r\nHost: a\r\n\r\n", "403", "waf"},
		{"GET /exact HTTP/1.1\r\nHost: a\r\n\r\n", "403", "waf"},
		{"GET /exactly HTTP/1.1\r\nHost: a\r\n\r\n", "200", "waf,forward"},
	} {
		_, _, body := m.request(c.raw)
		line := quoted(m.logLines(i + 1)[i])
		if line[logStatus] != c.status || line[logActions] != c.actions || line[logReason] != "-" || line[28] != "-" {
			t.Errorf("%q: %q", c.raw, line)
		}
		if (c.status == "403") != (len(body) == 118 && line[4] == "-" && line[logPriority] == "-1") { // the page's length: alb.md section 7
			t.Errorf("%q: a page of %d bytes, target %s, priority %s", c.raw, len(body), line[4], line[logPriority])
		}
	}
	m.counted(map[string]int64{"HTTPCode_ELB_4XX_Count": 4, "RequestCount": 3})
}

func TestWebACLBlocksByThePeersAddress(t *testing.T) {
	for block, want := range map[string]int{"127.0.0.0/8": 403, "10.0.0.0/8": 200} {
		m := start(t, withACL(newStub(t, nil, ok).addr, WebACL{Rules: []WebACLRule{{Name: "ip", IPSet: []string{block}}}}), Options{})
		if status, _, _ := m.request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"); status != want {
			t.Errorf("%s: status %d, want %d", block, status, want)
		}
	}
	m := start(t, withACL(newStub(t, nil, ok).addr, WebACL{DefaultAction: "block"}), Options{})
	if status, _, _ := m.request(plainGet); status != 403 {
		t.Errorf("default_action block: status %d", status)
	}
}

func TestWebACLThatFailsIs500UnlessItFailsOpen(t *testing.T) {
	for _, c := range []struct {
		open            any
		status, actions string
	}{{nil, "500", "waf-failed"}, {"true", "200", "waf-failed,forward"}} {
		cfg := withACL(newStub(t, nil, ok).addr, WebACL{DefaultAction: "block", Unavailable: true})
		if c.open != nil {
			cfg.Attributes["waf.fail_open.enabled"] = c.open
		}
		m := start(t, cfg, Options{})
		m.request(plainGet)
		if line := quoted(m.logLines(1)[0]); line[logStatus] != c.status || line[logActions] != c.actions || line[logReason] != "-" {
			t.Errorf("fail open %v: %q", c.open, line)
		}
	}
}

func TestWebACLIsChecked(t *testing.T) {
	match := func(edit func(m *ByteMatch)) WebACL {
		m := &ByteMatch{FieldToMatch: "uri_path", SearchString: "a", PositionalConstraint: "CONTAINS"}
		edit(m)
		return WebACL{Rules: []WebACLRule{{Name: "a", ByteMatch: m}}}
	}
	for want, acl := range map[string]WebACL{
		"web_acl.default_action":                 {DefaultAction: "count"},
		"every rule has a name of its own":       {Rules: []WebACLRule{{Name: "a", IPSet: []string{"::/0"}}, {Name: "a", IPSet: []string{"::/0"}}}},
		"one statement":                          {Rules: []WebACLRule{{Name: "a"}}},
		"ip_set[0]":                              {Rules: []WebACLRule{{Name: "a", IPSet: []string{"10.0.0.1"}}}},
		"byte_match.field_to_match":              match(func(m *ByteMatch) { m.FieldToMatch = "body" }),
		"byte_match.single_header":               match(func(m *ByteMatch) { m.SingleHeader = "X" }),
		`byte_match.single_header: "a b"`:        match(func(m *ByteMatch) { m.FieldToMatch, m.SingleHeader = "single_header", "a b" }),
		"byte_match.search_string":               match(func(m *ByteMatch) { m.SearchString = "" }),
		"byte_match.positional_constraint":       match(func(m *ByteMatch) { m.PositionalConstraint = "CONTAINS_WORD" }),
		"byte_match.search_string: must have fr": match(func(m *ByteMatch) { m.SearchString = strings.Repeat("a", 201) }),
	} {
		if _, err := New(withACL("127.0.0.1:1", acl), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
