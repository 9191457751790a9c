package albsim

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// TestALB_DES_01_TiersByMode is the table of alb.md section 6: what each tier's requests become in the three modes, and what
// the access log says of them.
func TestALB_DES_01_TiersByMode(t *testing.T) {
	get := func(fields string) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" }
	post := func(fields, body string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body }
	cases := []struct {
		raw, tier, reason string
	}{
		{get(""), "Compliant", "-"},
		{get("X_Odd: 1\r\n"), "Compliant", "-"},
		{post("Content-Length: 2\r\n", "ok"), "Compliant", "-"},
		{post("Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"), "Compliant", "-"},
		{post("", ""), "Compliant", "-"},

		{"GET /0.9\r\n", "Acceptable", "NonCompliantVersion"},
		{"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "Acceptable", "NonCompliantVersion"},
		{"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "Acceptable", "SpaceInUri"},
		{get("Content-Length: 0\r\n"), "Acceptable", "GetHeadZeroContentLength"},
		{get("X: caf\xc3\xa9\r\n"), "Acceptable", "NonCompliantHeader"},
		{get("X: a\x0bb\r\n"), "Acceptable", "NonCompliantHeader"},
		{get("X y: 1\r\n"), "Acceptable", "NonCompliantHeader"},
		{"GET / HTTP/1.1\nHost: a\n\n", "Acceptable", "NonCompliantHeader"},

		{"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "Ambiguous", "AmbiguousUri"},
		{"GET  HTTP/1.1\r\nHost: a\r\n\r\n", "Ambiguous", "MissingUri"},
		{post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "Ambiguous", "BothTeClPresent"},
		{post("Content-Length: 2\r\nTransfer-Encoding: identity\r\n", "ok"), "Ambiguous", "BothTeClPresent"},
		{post("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), "Ambiguous", "DuplicateContentLength"},
		{get(": nameless\r\n"), "Ambiguous", "EmptyHeader"},
		{get(" \t\r\n"), "Ambiguous", "EmptyHeader"},
		{get("X: 1\r\n folded\r\n"), "Ambiguous", "MultilineHeader"},
		{get("no colon\r\n"), "Ambiguous", "MissingHeaderColon"},
		{post("Content-Length : 2\r\n", ""), "Ambiguous", "SuspiciousHeader"},
		{post("Content_Length: 2\r\n", ""), "Ambiguous", "SuspiciousHeader"},
		{post("Transfer-Encoding\t: chunked\r\n", ""), "Ambiguous", "SuspiciousHeader"},
		{post("Tran\u017ffer-Encoding: chunked\r\n", ""), "Ambiguous", "SuspiciousHeader"},
		{post("Transfer-Encod\u0131ng: chunked\r\n", ""), "Ambiguous", "SuspiciousHeader"},
		{get("Content-Length: 2\r\n") + "ok", "Ambiguous", "UndefinedContentLengthSemantics"},
		{get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", "Ambiguous", "UndefinedTransferEncodingSemantics"},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Ambiguous", "UndefinedTransferEncodingSemantics"},

		{post("Content-Length: 2x\r\n", ""), "Severe", "BadContentLength"},
		{post("Content-Length: -2\r\n", ""), "Severe", "BadContentLength"},
		{post("Content-Length: 0x2\r\n", ""), "Severe", "BadContentLength"},
		{post("Content-Length: 2, 2\r\n", ""), "Severe", "BadContentLength"},
		{post("Content-Length: \r\n", ""), "Severe", "BadContentLength"},
		{post("Content-Length: 99999999999999999999\r\n", ""), "Severe", "BadContentLength"},
		{post("Content-Length: 2\r\nContent-Length: 3\r\n", "oks"), "Severe", "MultipleContentLength"},
		{post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "Severe", "MultipleTransferEncodingChunked"},
		{post("Transfer-Encoding: \x0bchunked\r\n", ""), "Severe", "BadTransferEncoding"},
		{get("X: a\x00b\r\n"), "Severe", "BadHeader"},
		{get("X: a\rY: b\r\n"), "Severe", "BadHeader"},
		{"GET / HTTP/1.1\r\n folded first\r\nHost: a\r\n\r\n", "Severe", "BadHeader"},
		{"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", "Severe", "BadUri"},
		{"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "Severe", "BadUri"},
		{"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "Severe", "BadMethod"},
		{"GET / HTTX\r\nHost: a\r\n\r\n", "Severe", "BadVersion"},
		{"POST /0.9\r\n", "Severe", "BadVersion"},
	}
	noRequest := []string{"BadMethod", "BadVersion"} // not even monitor can route what is none
	for mode, blocked := range map[string][]string{
		"monitor": {}, "defensive": {"Severe"}, "strictest": {"Acceptable", "Ambiguous", "Severe"},
	} {
		target := newStub(t, nil, func(c *client, _ string) {
			say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite() // what follows the head is not a request
			discard(c.br, 1<<10)
		})
		cfg := plain(target.addr)
		cfg.Attributes["routing.http.desync_mitigation_mode"] = mode
		m := start(t, cfg, Options{})
		for i, c := range cases {
			cl := m.dial()
			cl.send(c.raw)
			want := "200"
			if slices.Contains(blocked, c.tier) || slices.Contains(noRequest, c.reason) {
				want = "400"
			}
			if strings.Contains(c.raw, "/0.9") { // neither status line nor fields, and the end
				if b, err := io.ReadAll(cl.br); err != nil || string(b) != map[string]string{"200": "ok"}[want] && !strings.Contains(string(b), "400 Bad") {
					t.Errorf("%s: %q got %q, %v", mode, c.raw, b, err)
				}
			} else if _, head, _ := cl.response(); !strings.HasPrefix(head, "HTTP/1.1 "+want) {
				t.Errorf("%s: %q got %q, want %s", mode, c.raw, head, want)
			}
			f := m.logLines(i + 1)[i]
			if n := len(f); f[8] != want || f[n-6] != quote(c.tier) || f[n-5] != `"`+c.reason+`"` {
				t.Errorf("%s: %q is logged as %s %s %s, want %s %s %s", mode, c.raw, f[8], f[n-6], f[n-5], want, c.tier, c.reason)
			}
			cl.Close()
		}
	}
}

func TestALB_DES_01_HeadsThatEndEarlyAreNamedInTheLog(t *testing.T) {
	m := start(t, plain("127.0.0.1:1"), Options{})
	for i, c := range []struct{ raw, reason string }{
		{"GET / HTTP/1.1\r\nHost: a\r\nX: par", "PartialHeaderLine"},
		{"GET / HTTP/1.1\r\nHost: a\r\n", "MissingLastEmptyLine"},
	} {
		cl := m.dial()
		cl.send(c.raw)
		cl.Close()
		f := m.logLines(i + 1)[i]
		if n := len(f); f[8] != "400" || f[n-6] != `"Ambiguous"` || f[n-5] != quote(c.reason) {
			t.Errorf("%q is logged as %q", c.raw, f)
		}
	}
}

// In mode monitor an ambiguous request is routed as any other: both connections live on.
func TestALB_DES_01_MonitorKeepsTheConnections(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Attributes["routing.http.desync_mitigation_mode"] = "monitor"
	m := start(t, cfg, Options{})
	c := m.dial()
	for i := range 2 {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n: nameless\r\n\r\n")
		if status, head, _ := c.response(); status != 200 || fieldOf(head, "Connection") != "keep-alive" {
			t.Errorf("got %q", head)
		}
		m.logLines(i + 1)
	}
	if n := target.accepts.Load(); n != 1 {
		t.Errorf("%d target connections, want one", n)
	}
	m.counted(map[string]int64{"DesyncMitigationMode_NonCompliant_Request_Count": 2})
}
