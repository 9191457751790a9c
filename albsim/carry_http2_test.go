package albsim

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// h2Target is a target that speaks h2 alone: by prior knowledge, or by ALPN on TLS.
func h2Target(t *testing.T, secure bool, serve http.HandlerFunc) string {
	t.Helper()
	ts := httptest.NewUnstartedServer(serve)
	ts.Config.Protocols = new(http.Protocols)
	ts.Config.Protocols.SetUnencryptedHTTP2(!secure)
	ts.Config.Protocols.SetHTTP2(secure)
	if ts.EnableHTTP2 = secure; secure {
		ts.StartTLS()
	} else {
		ts.Start()
	}
	t.Cleanup(ts.Close)
	return ts.Listener.Addr().String()
}

// versioned is a document with an HTTPS listener before a group of that protocol and version.
func versioned(t testing.TB, target, protocol, version string) Config {
	cfg := secure(t, target)
	cfg.TargetGroups[0].Protocol, cfg.TargetGroups[0].ProtocolVersion = protocol, version
	return cfg
}

// overH2 makes one request over h2 and reads the whole answer, its trailers too.
func (m *sim) overH2(tr http.RoundTripper, method, path string, body io.Reader, edit func(*http.Request)) (status int, trailer http.Header, answer string) {
	m.t.Helper()
	req, err := http.NewRequest(method, "https://"+m.addr+path, body)
	if err != nil {
		m.t.Fatal(err)
	}
	if edit != nil {
		edit(req)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Errorf("%s %s: body %q, %v", method, path, b, err)
	}
	return resp.StatusCode, resp.Trailer, string(b)
}

func isGRPC(r *http.Request) { r.Header.Set("Content-Type", "application/grpc+proto") }

func TestALB_ERR_08_VersionsThatDoNotFitAre464(t *testing.T) {
	answers := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }
	one := httptest.NewServer(http.HandlerFunc(answers))
	defer one.Close()
	targets := map[string]string{
		"HTTP1": strings.TrimPrefix(one.URL, "http://"), "HTTP2": h2Target(t, false, answers), "GRPC": h2Target(t, false, answers),
	}
	for version, want := range map[string]map[string]int{ // alb.md section 4 (TG)
		"HTTP1": {"h1": 200, "h2": 200, "h2 POST": 200, "gRPC": 464, "gRPC-Web": 200},
		"HTTP2": {"h1": 464, "h2": 200, "h2 POST": 200, "gRPC": 200, "gRPC-Web": 200},
		"GRPC":  {"h1": 464, "h2": 464, "h2 POST": 200, "gRPC": 200, "gRPC-Web": 200},
	} {
		m := start(t, versioned(t, targets[version], "HTTP", version), Options{})
		tr := h2Transport(t)
		for client, status := range want {
			var got int
			switch client {
			case "h1":
				c, _ := m.dialTLS(&tls.Config{})
				c.send(plainGet)
				got, _, _ = c.response()
			case "h2":
				got, _, _ = m.overH2(tr, "GET", "/", nil, nil)
			case "h2 POST":
				got, _, _ = m.overH2(tr, "POST", "/", strings.NewReader("x"), nil)
			case "gRPC":
				got, _, _ = m.overH2(tr, "POST", "/", strings.NewReader("x"), isGRPC)
			case "gRPC-Web":
				got, _, _ = m.overH2(tr, "POST", "/", strings.NewReader("x"), func(r *http.Request) {
					r.Header.Set("Content-Type", "application/grpc-web+proto")
				})
			}
			if got != status {
				t.Errorf("%s to %s: status %d, want %d", client, version, got, status)
			}
		}
	}
}

func TestALB_UPG_11_UpgradeToAnH2GroupIs464(t *testing.T) {
	target := h2Target(t, false, func(http.ResponseWriter, *http.Request) { t.Error("the target got a request") })
	for _, version := range []string{"HTTP2", "GRPC"} {
		m := start(t, versioned(t, target, "HTTP", version), Options{})
		for _, token := range []string{"websocket", "x-tls-tunnel"} {
			c, _ := m.dialTLS(&tls.Config{})
			c.send(upgradeRequest(token))
			if status, head, _ := c.response(); status != 464 {
				t.Errorf("%s to %s: got %q", token, version, head)
			}
		}
		if f := m.logLines(2)[0]; f[8] != "464" || f[9] != "-" {
			t.Errorf("log %q", f)
		}
	}
}

func TestALB_ERR_09_GRPCErrorsAreTrailersOnly(t *testing.T) {
	m := start(t, versioned(t, closedPort(t), "HTTP", "GRPC"), Options{})
	h := m.dialH2()
	id := h.open(true, ":method", "POST", ":scheme", "https", ":authority", "a", ":path", "/svc/Call",
		"content-type", "application/grpc", "te", "trailers")
	frame := h.headers(id)
	want := map[string]string{
		":status": "502", "server": "awselb/2.0", "content-type": "application/grpc", "content-length": "0",
		"grpc-status": "14", "grpc-message": "unavailable",
	}
	for _, f := range frame.Fields {
		if v, ok := want[f.Name]; ok && v == f.Value {
			delete(want, f.Name)
		}
	}
	if len(want) > 0 || !frame.StreamEnded() {
		t.Errorf("missing %v, end of the stream %v, in %v", want, frame.StreamEnded(), frame.Fields)
	}
	if f := m.logLines(1)[0]; f[0] != "grpcs" || f[8] != "502" {
		t.Errorf("log %q", f)
	}
}

func TestH2GroupGetsTheRequestAndGivesTheAnswerWithTrailers(t *testing.T) {
	for _, protocol := range []string{"HTTP", "HTTPS"} {
		t.Run(protocol, func(t *testing.T) {
			var saw *http.Request
			target := h2Target(t, protocol == "HTTPS", func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					t.Errorf("target: %v", err)
				}
				saw = r.Clone(r.Context())
				w.Header().Set("Trailer", "Grpc-Status")
				fmt.Fprintf(w, "%s, then %s", b, r.Trailer.Get("X-After"))
				w.Header().Set("Grpc-Status", "0")
				w.Header().Set(http.TrailerPrefix+"X-Late", "not announced")
			})
			var hello HelloEvent
			m := start(t, versioned(t, target, protocol, "HTTP2"), Options{OnTargetHello: func(e HelloEvent) { hello = e }})
			_, trailer, body := m.overH2(h2Transport(t), "POST", "//odd?q=1", strings.NewReader("sent"), func(r *http.Request) {
				r.ContentLength = -1
				r.Header.Set("X-Mine", "1")
				r.Trailer = http.Header{"X-After": {"the trailer"}}
			})
			if body != "sent, then the trailer" || trailer.Get("Grpc-Status") != "0" || trailer.Get("X-Late") != "not announced" {
				t.Errorf("body %q, trailers %v", body, trailer)
			}
			if saw.Proto != "HTTP/2.0" || saw.RequestURI != "//odd?q=1" || saw.Header.Get("X-Mine") != "1" ||
				saw.Header.Get("X-Forwarded-Proto") != "https" || !strings.HasPrefix(saw.Header.Get("X-Amzn-Trace-Id"), "Root=") {
				t.Errorf("the target got %s %s %v", saw.Proto, saw.RequestURI, saw.Header)
			}
			if protocol == "HTTPS" && (hello.SNI != "" || hello.Negotiated != "h2") {
				t.Errorf("ClientHello %+v", hello)
			}
			if f := m.logLines(1)[0]; f[4] != target || f[9] != "200" {
				t.Errorf("log %q", f)
			}
		})
	}
}

func TestGRPCStreamsBothWaysAndItsErrorPasses(t *testing.T) {
	target := h2Target(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.URL.Path == "/refused" {
			w.Header().Set("Grpc-Status", "7")
			w.Header()["Content-Length"] = nil // or net/http adds one
			return
		}
		w.WriteHeader(200)
		flush := http.NewResponseController(w).Flush
		if err := flush(); err != nil { // a head of its own, before any message
			t.Error(err)
		}
		b := make([]byte, 4)
		for {
			n, err := io.ReadFull(r.Body, b)
			if err != nil {
				break
			}
			if _, err := w.Write(b[:n]); err != nil || flush() != nil {
				t.Errorf("target: %v", err)
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	m := start(t, versioned(t, target, "HTTP", "GRPC"), Options{})
	tr := h2Transport(t)
	up, w := io.Pipe()
	req, err := http.NewRequest("POST", "https://"+m.addr+"/svc/Chat", up)
	if err != nil {
		t.Fatal(err)
	}
	isGRPC(req)
	resp, err := tr.RoundTrip(req) // returns at the head: nothing has been sent yet
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, message := range []string{"ping", "pong"} {
		say(w, message)
		b := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != message {
			t.Fatalf("sent %q, got %q, %v", message, b, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("end %v, trailers %v", err, resp.Trailer)
	}

	h := m.dialH2()
	id := h.open(true, ":method", "POST", ":scheme", "https", ":authority", "a", ":path", "/refused", "content-type", "application/grpc")
	if f := h.headers(id); !f.StreamEnded() || !strings.Contains(fmt.Sprint(f.Fields), "grpc-status") || strings.Contains(fmt.Sprint(f.Fields), "content-length") {
		t.Errorf("a target's trailers-only answer became %v, end of the stream %v", f.Fields, f.StreamEnded())
	}
}

func TestH2TargetsFail(t *testing.T) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	ended := make(chan struct{}, 1)
	hangs := h2Target(t, false, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); ended <- struct{}{} })
	for _, c := range []struct {
		name, target, protocol string
		want                   int
	}{
		{"refuses", closedPort(t), "HTTP", 502},
		{"is HTTP/1.1", newStub(t, nil, func(c *client, _ string) { say(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() }).addr, "HTTP", 502},
		{"agrees on nothing", newStub(t, &tls.Config{Certificates: []tls.Certificate{cert}}, ok).addr, "HTTPS", 502},
		{"is silent", hangs, "HTTP", 504},
	} {
		cfg := versioned(t, c.target, c.protocol, "HTTP2")
		cfg.Attributes["idle_timeout.timeout_seconds"] = 3
		m := start(t, cfg, tenth)
		if status, _, _ := m.overH2(h2Transport(t), "GET", "/", nil, nil); status != c.want {
			t.Errorf("%s: status %d, want %d", c.name, status, c.want)
		}
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the silent target was not told that nobody waits")
	}
}

func TestH2CancelReachesAnH2Target(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	target := h2Target(t, false, func(_ http.ResponseWriter, r *http.Request) { close(begun); <-r.Context().Done(); close(ended) })
	m := start(t, versioned(t, target, "HTTP", "HTTP2"), Options{})
	h := m.dialH2()
	id := h.open(false, ":method", "POST", ":scheme", "https", ":authority", "a", ":path", "/")
	<-begun
	if err := h.framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	<-ended
	if f := m.logLines(1)[0]; f[8] != "460" && f[8] != "400" {
		t.Errorf("log %q", f)
	}
}

func TestH2ClientsShareAConnectionToAnH2Target(t *testing.T) {
	peers := make(chan string, 2)
	target := h2Target(t, false, func(_ http.ResponseWriter, r *http.Request) { peers <- r.RemoteAddr })
	m := start(t, versioned(t, target, "HTTP", "HTTP2"), Options{})
	for range 2 {
		m.overH2(h2Transport(t), "GET", "/", nil, nil)
	}
	if a, b := <-peers, <-peers; a != b {
		t.Errorf("two clients reached the target from %s and %s", a, b)
	}
}

func TestH2GroupBehindAnHTTPListenerIsRefused(t *testing.T) {
	cfg := plain("127.0.0.1:1")
	cfg.TargetGroups[0].ProtocolVersion = "HTTP2"
	_, err := New(cfg, Options{})
	if err == nil || !strings.Contains(err.Error(), "needs an HTTPS listener") {
		t.Errorf("got %v", err)
	}
}
