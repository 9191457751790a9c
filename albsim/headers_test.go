package albsim

import (
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ask sends one GET with those lines and returns what the target got.
func ask(t *testing.T, m *sim, target *stub, lines ...string) string {
	t.Helper()
	c := m.dial()
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Host:") }) {
		lines = append(lines, "Host: a")
	}
	c.send("GET / HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
	if status, head, _ := c.response(); status != 200 {
		t.Fatalf("client got %q", head)
	}
	return target.head(t)
}

func TestALB_HDR_01_02_ForwardedForModes(t *testing.T) {
	for _, c := range []struct {
		mode, sent string
		port       bool
		want       string // a regular expression; "" for none
	}{
		{"append", "", false, `127\.0\.0\.1`},
		{"append", " ", false, `127\.0\.0\.1`},
		{"append", "127.0.0.4", false, `127\.0\.0\.4, 127\.0\.0\.1`},
		{"append", "127.0.0.4, 127.0.0.8", false, `127\.0\.0\.4, 127\.0\.0\.8, 127\.0\.0\.1`},
		{"append", "127.0.0.4", true, `127\.0\.0\.4, 127\.0\.0\.1:\d+`},
		{"preserve", "", true, ""},
		{"preserve", "127.0.0.4", true, `127\.0\.0\.4`},
		{"preserve", "127.0.0.4, 127.0.0.8", false, `127\.0\.0\.4, 127\.0\.0\.8`},
		{"remove", "", false, ""},
		{"remove", "127.0.0.4", true, ""},
	} {
		target := newStub(t, nil, ok)
		cfg := plain(target.addr)
		cfg.Attributes["routing.http.xff_header_processing.mode"] = c.mode
		cfg.Attributes["routing.http.xff_client_port.enabled"] = c.port
		var lines []string
		if c.sent != "" {
			lines = append(lines, "x-forwarded-for: "+c.sent)
		}
		head := ask(t, start(t, cfg, Options{}), target, lines...)
		got := fieldOf(head, "X-Forwarded-For")
		if !regexp.MustCompile("^"+c.want+"$").MatchString(got) || strings.Contains(head, "x-forwarded-for") {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestALB_HDR_02_ClientPortOfIPv6(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Listeners[0].Listen = "[::1]:0"
	cfg.Attributes["routing.http.xff_client_port.enabled"] = true
	if got := fieldOf(ask(t, start(t, cfg, Options{}), target), "X-Forwarded-For"); !regexp.MustCompile(`^\[::1\]:\d+$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}

func TestALB_HDR_03_TooManyForwardedForIs463(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, plain(target.addr), Options{})
	for n, want := range map[int]int{30: 200, 31: 463} {
		c := m.dial()
		c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + strings.Repeat("10.0.0.1, ", n-1) + "10.0.0.1\r\n\r\n")
		if status, _, _ := c.response(); status != want {
			t.Errorf("%d addresses: status %d, want %d", n, status, want)
		}
	}
}

func TestALB_HDR_04_ForgedProtoAndPortAreReplaced(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, secure(t, target.addr), Options{AdvertisedPort: 443})
	c, _ := m.dialTLS(&tls.Config{})
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\nx-forwarded-port: 1\r\n\r\n")
	c.response()
	head := target.head(t)
	if fieldOf(head, "X-Forwarded-Proto") != "https" || fieldOf(head, "X-Forwarded-Port") != "443" {
		t.Errorf("target got %q", head)
	}
	for _, name := range []string{"x-forwarded-proto", "x-forwarded-port"} { // a forged one beside ours would do harm too
		if n := strings.Count(strings.ToLower(head), "\r\n"+name+":"); n != 1 {
			t.Errorf("%s is there %d times: %q", name, n, head)
		}
	}
}

func TestALB_HDR_05_TraceID(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, plain(target.addr), Options{})
	const id = `1-[0-9a-f]{8}-[0-9a-f]{24}`
	for _, c := range []struct {
		sent, pad, want string
	}{
		{"", "", `Root=` + id},
		{"Root=1-67891233-abcdef012345678912345678", "", `Self=` + id + `;Root=1-67891233-abcdef012345678912345678`},
		{
			"Self=1-0-0;Root=1-67891233-abcdef012345678912345678;CalledFrom=app", "",
			`Self=` + id + `;Root=1-67891233-abcdef012345678912345678;CalledFrom=app`,
		},
		{"CalledFrom=app", "", `Root=` + id + `;CalledFrom=app`},
		{"Root=1-67891233-abcdef012345678912345678;CalledFrom=app", strings.Repeat("x", 8<<10), `Root=` + id},
	} {
		head := ask(t, m, target, "X-Amzn-Trace-Id: "+c.sent, "Pad: "+c.pad)
		got := fieldOf(head, "X-Amzn-Trace-Id")
		if !regexp.MustCompile("^"+c.want+"$").MatchString(got) || c.pad != "" && strings.Contains(got, "67891233") {
			t.Errorf("sent %q with %d bytes beside it: got %q", c.sent, len(c.pad), got)
		}
	}
}

func TestALB_HDR_06_07_Host(t *testing.T) {
	for _, c := range []struct {
		preserve   bool
		port       int
		line, host string
		want       string
	}{
		{false, 80, "GET / HTTP/1.1", "ExAmple.com:80", "example.com"},
		{false, 80, "GET / HTTP/1.1", "example.com", "example.com"},
		{false, 8080, "GET / HTTP/1.1", "example.com", "example.com:8080"},
		{false, 80, "GET http://Other.test/x HTTP/1.1", "example.com", "other.test"},
		{true, 80, "GET / HTTP/1.1", "ExAmple.com:443", "ExAmple.com:443"},
	} {
		target := newStub(t, nil, ok)
		cfg := plain(target.addr)
		cfg.Attributes["routing.http.preserve_host_header.enabled"] = c.preserve
		cl := start(t, cfg, Options{AdvertisedPort: c.port}).dial()
		cl.send(c.line + "\r\nhost: " + c.host + "\r\n\r\n")
		cl.response()
		if got := fieldOf(target.head(t), "Host"); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestALB_HDR_08_InvalidNames(t *testing.T) {
	for _, drop := range []bool{false, true} {
		target := newStub(t, nil, ok)
		cfg := plain(target.addr)
		cfg.Attributes["routing.http.drop_invalid_header_fields.enabled"] = drop
		head := ask(t, start(t, cfg, Options{}), target, "X_Foo: 1", "X-Foo: 2")
		if has(head, "X_Foo") == drop || !has(head, "X-Foo") {
			t.Errorf("drop %v: target got %q", drop, head)
		}
	}
}

func TestALB_HDR_09_ExpectIsAnsweredAtOnce(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		c.expect("body")
		ok(c, head)
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if head := c.head(); head != "HTTP/1.1 100 Continue\r\n\r\n" { // the target has nothing to answer yet: it waits for the body
		t.Fatalf("client got %q", head)
	}
	c.send("body")
	if status, _, _ := c.response(); status != 200 {
		t.Errorf("status %d", status)
	}
	if head := target.head(t); has(head, "Expect") {
		t.Errorf("target got %q", head)
	}
}

func TestALB_HDR_10_H2NamesAreLowerExceptTheList(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if strings.HasPrefix(head, "POST") {
			c.expect("4\r\nbody\r\n0\r\n\r\n")
		}
		ok(c, head)
	})
	m := start(t, secure(t, target.addr), Options{})
	tr := h2Transport(t)
	for _, method := range []string{"GET", "POST"} {
		var body io.Reader
		if method == "POST" {
			body = io.MultiReader(strings.NewReader("body")) // no length
		}
		req, err := http.NewRequest(method, "https://"+m.addr+"/x?y", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Custom", "1")
		req.Header.Set("User-Agent", "t")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != "ok" || resp.StatusCode != 200 {
			t.Errorf("%s: %d %q %v", method, resp.StatusCode, b, err)
		}
		head := target.head(t)
		want := []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host", "X-Amzn-Trace-Id", "accept-encoding"}
		want = append(want, "user-agent", "x-custom")
		if method == "POST" {
			want = append(want, "transfer-encoding")
		}
		got := names(head)
		slices.Sort(got[5:min(8, len(got))]) // what net/http sends in any order
		if !slices.Equal(got, want) || !strings.HasPrefix(head, method+" /x?y HTTP/1.1\r\n") {
			t.Errorf("target got %q", head)
		}
	}
	if got := target.accepts.Load(); got != 1 {
		t.Errorf("%d target connections, want one used twice", got)
	}
}

func TestALB_HDR_12_TLSHeaders(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := secure(t, target.addr)
	cfg.Attributes["routing.http.x_amzn_tls_version_and_cipher_suite.enabled"] = true
	m := start(t, cfg, Options{})
	c, _ := m.dialTLS(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.response()
	head := target.head(t)
	if fieldOf(head, "x-amzn-tls-version") != "TLSv1.2" || fieldOf(head, "x-amzn-tls-cipher-suite") != "ECDHE-ECDSA-AES128-GCM-SHA256" {
		t.Errorf("target got %q", head)
	}
}

func TestALB_HDR_13_HTTP10WithoutHostGetsTheBalancersName(t *testing.T) {
	target := newStub(t, nil, ok)
	c := start(t, plain(target.addr), Options{AdvertisedPort: 80, DNSName: "alb.example.test"}).dial()
	c.send("GET / HTTP/1.0\r\n\r\n")
	if _, head, _ := c.response(); fieldOf(head, "Connection") != "close" {
		t.Errorf("client got %q", head)
	}
	if got := fieldOf(target.head(t), "Host"); got != "alb.example.test" {
		t.Errorf("Host %q", got)
	}
}

func TestBodiesStreamBothWays(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		c.expect("3\r\none\r\n")
		say(c, "3;ext=1\r\nONE\r\n")
		c.expect("3\r\ntwo\r\n0\r\n\r\n")
		say(c, "3\r\nTWO\r\n0\r\nTrailer: 1\r\n\r\n")
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 3)
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "ONE" { // while the request is still under way
		t.Fatalf("%q %v", b, err)
	}
	c.send("3\r\ntwo\r\n0\r\n\r\n")
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "TWO" {
		t.Fatalf("%q %v", b, err)
	}
}
