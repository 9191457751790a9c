package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// web is a service that speaks HTTP, with h2 where alpn has it.
func web(t *testing.T, handler http.HandlerFunc, alpn ...string) *service {
	t.Helper()
	config := &tls.Config{NextProtos: alpn}
	s := newService(t, config)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = config
	server.Config.ErrorLog = quiet
	server.EnableHTTP2 = slices.Contains(alpn, "h2")
	if slices.Contains(alpn, appALPN) {
		server.Listener = terminated{tls.NewListener(server.Listener, config)}
		server.Start()
	} else {
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	s.addr = server.Listener.Addr().String()
	return s
}

// appALPN is a name that net/http does not know. A router ends the TLS, and the service sees HTTP/1.1.
const appALPN = "teleport-app"

type terminated struct{ net.Listener }

func (l terminated) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return struct{ net.Conn }{conn}, err
}

// browser is a client of the local port, over HTTP/1.1 or h2c.
func browser(t *testing.T, h2c bool) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(!h2c)
	p.SetUnencryptedHTTP2(h2c)
	transport := &http.Transport{Protocols: &p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// mirror tells what came, and repeats the body and its trailer behind it.
func mirror(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Sum")
	fmt.Fprintf(w, "%s %s %s\n", r.Proto, r.Host, r.RequestURI)
	_, _ = io.Copy(w, r.Body)
	w.Header().Set("Sum", r.Trailer.Get("Sum"))
}

func TestEitherVersionReachesARouteOfEither(t *testing.T) {
	for _, test := range []struct {
		route    []string
		one, h2c string // what the service sees
	}{
		{route: []string{"http/1.1"}, one: "HTTP/1.1", h2c: "HTTP/1.1"},
		{route: []string{"h2"}, one: "HTTP/2.0", h2c: "HTTP/2.0"},
		{route: []string{"h2", "http/1.1"}, one: "HTTP/1.1", h2c: "HTTP/2.0"},
		{route: []string{appALPN}, one: "HTTP/1.1", h2c: "HTTP/1.1"},
		{route: nil, one: "HTTP/1.1", h2c: "HTTP/1.1"},
	} {
		s := web(t, mirror, test.route...)
		addr, _ := serve(t, &Server{Kind: HTTP, Dialer: s.dialer(test.route...)})
		for h2c, want := range map[bool]string{false: test.one, true: test.h2c} {
			t.Run(fmt.Sprint(test.route, ", h2c ", h2c), func(t *testing.T) {
				var body io.Reader = strings.NewReader("body") // of known length, which HTTP/2 may have with a trailer
				if !h2c {
					body = io.NopCloser(body)
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/a%2Fb?c;d", body)
				if err != nil {
					t.Fatal(err)
				}
				req.Trailer = http.Header{"Sum": {"4"}}
				resp, err := browser(t, h2c).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, err := io.ReadAll(resp.Body)
				if want := want + " " + serviceName + " /a%2Fb?c;d\nbody"; err != nil || string(got) != want {
					t.Errorf("%q, %v, want %q", got, err, want)
				}
				if sum := resp.Trailer.Get("Sum"); sum != "4" {
					t.Errorf("trailer %q, want 4", sum)
				}
			})
		}
	}
}

func TestWhatAClientSaysOfItselfIsPassedOn(t *testing.T) {
	s := web(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q %q %q", r.Host, r.Header["X-Forwarded-For"], r.Header["User-Agent"], r.Header["Accept-Encoding"])
	}, "http/1.1")
	addr, _ := serve(t, &Server{Kind: HTTP, Dialer: s.dialer("http/1.1")})
	conn := dial(t, addr)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: other.example.test\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(conn)
	if want := `other.example.test ["192.0.2.1"] [] []`; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestAnswersStreamWhileTheRequestDoes(t *testing.T) {
	s := web(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		_ = c.EnableFullDuplex()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "%s\n", lines.Text())
			_ = c.Flush()
		}
	}, "h2", "http/1.1")
	addr, _ := serve(t, &Server{Kind: HTTP, Dialer: s.dialer("h2", "http/1.1")})
	for _, h2c := range []bool{false, true} {
		body, send := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, body)
		if err != nil {
			t.Fatal(err)
		}
		go fmt.Fprintln(send, "one") // HTTP/1 answers to the first line only
		resp, err := browser(t, h2c).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(resp.Body)
		for _, want := range []string{"one\n", "two\n", "three\n"} {
			if want != "one\n" {
				fmt.Fprint(send, want)
			}
			if got, err := answers.ReadString('\n'); err != nil || got != want {
				t.Errorf("h2c %v: %q, %v, want %q", h2c, got, err, want)
			}
		}
		_ = send.Close() // of a pipe: it cannot fail
		if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
			t.Errorf("h2c %v: %q, %v behind the end", h2c, rest, err)
		}
		resp.Body.Close()
	}
}

// switching agrees to an Upgrade to "test" and then does what the path says; anything else is refused or answered.
func switching(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "test" {
		http.Error(w, "no "+r.Header.Get("Upgrade"), http.StatusForbidden)
		return
	}
	body, _ := io.ReadAll(r.Body)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello %s %s", r.Method, body)
	switch r.URL.Path {
	case "/echo":
		_, _ = io.Copy(conn, buffered)
	case "/abort":
		_, _ = buffered.ReadByte()
		splice.Abort(conn)
	}
}

// wire is a client that speaks HTTP/1.1 by hand, as a client that asks for upgrades does.
type wire struct {
	*net.TCPConn
	r *bufio.Reader
}

func newWire(t *testing.T, addr string) *wire {
	conn := dial(t, addr)
	return &wire{conn, bufio.NewReader(conn)}
}

// ask sends a request and returns the status of its answer and, unless that is a 101, the body.
func (w *wire) ask(t *testing.T, request string) (status int, body string) {
	t.Helper()
	if _, err := io.WriteString(w, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func TestAnUpgradeIsATunnelWithBothItsEnds(t *testing.T) {
	s := web(t, switching, "h2", "http/1.1")
	for name, request := range map[string]string{
		"GET":                "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n",
		"POST of SPDY":       "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\nContent-Length: 0\r\n\r\n",
		"with a body":        "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\nContent-Length: 4\r\n\r\nbody",
		"with a body, parts": "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var said said
			addr, end := serve(t, &Server{Kind: Kube, Dialer: s.dialer("h2", "http/1.1"), Limit: 1, Say: said.say})
			conn := newWire(t, addr)
			if status, body := conn.ask(t, request+"early "); status != http.StatusSwitchingProtocols {
				t.Fatalf("status %d: %s", status, body)
			}
			_, err := io.WriteString(conn, "late")
			if err := errors.Join(err, conn.CloseWrite()); err != nil {
				t.Fatal(err)
			}
			method, body := request[:strings.Index(request, " ")], ""
			if strings.Contains(request, "body") {
				body = "body"
			}
			got, err := io.ReadAll(conn.r)
			if want := "hello " + method + " " + body + "early late"; err != nil || string(got) != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
			if status, body := newWire(t, addr).ask(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusForbidden {
				t.Errorf("behind the tunnel, in its place: %d, %s", status, body)
			}
			end()
			said.nothing(t)
		})
	}
}

func TestAnUpgradeThatIsCutOffIsAReset(t *testing.T) {
	s := web(t, switching, "http/1.1")
	var said said
	addr, end := serve(t, &Server{Kind: Kube, Dialer: s.dialer("http/1.1"), Say: said.say})
	conn := newWire(t, addr)
	conn.ask(t, "GET /abort HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	_, err := io.ReadFull(conn.r, make([]byte, len("hello GET ")))
	if err == nil {
		_, err = conn.Write([]byte("x"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
	end()
	said.one(t, "the route cut the connection off")
}

func TestARefusedUpgradeLeavesTheConnectionUsable(t *testing.T) {
	s := web(t, switching, "http/1.1")
	addr, _ := serve(t, &Server{Kind: HTTP, Dialer: s.dialer("http/1.1")})
	conn := newWire(t, addr)
	for range 2 {
		status, body := conn.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		if status != http.StatusForbidden || body != "no other\n" {
			t.Errorf("%d, %q", status, body)
		}
	}
}

func TestAnOfferOfH2CIsPassedOver(t *testing.T) {
	s := web(t, mirror, "h2")
	addr, _ := serve(t, &Server{Kind: HTTP, Dialer: s.dialer("h2")})
	request := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
	if status, body := newWire(t, addr).ask(t, request); status != http.StatusOK {
		t.Errorf("%d, %q", status, body)
	}
}

func TestAFailureIsABadGatewayWithItsReason(t *testing.T) {
	strict := listen(t, certificateWanted(), func(conn *tls.Conn) { conn.Close() })
	for _, test := range []struct {
		name   string
		server *Server
		want   string
	}{
		{"no router", &Server{Dialer: nobody(t)}, "connection refused"},
		{"no client certificate", &Server{Dialer: strict.dialer()}, "certificate required"},
	} {
		for _, upgrade := range []string{"", "Connection: Upgrade\r\nUpgrade: test\r\n"} {
			if upgrade != "" && test.name == "no client certificate" {
				continue // is met in the tunnel: see TestAnUpgradeThatIsCutOffIsAReset
			}
			t.Run(test.name+upgrade, func(t *testing.T) {
				var said said
				s := test.server
				s.Kind, s.Say = HTTP, said.say
				addr, end := serve(t, s)
				status, body := newWire(t, addr).ask(t, "GET / HTTP/1.1\r\nHost: x\r\n"+upgrade+"\r\n")
				if status != http.StatusBadGateway || !strings.Contains(body, test.want) {
					t.Errorf("%d, %q, want 502 and %q", status, body, test.want)
				}
				end()
				said.one(t, test.want)
			})
		}
	}
}

func TestAPageElsewhereCannotPost(t *testing.T) {
	s := web(t, mirror, "http/1.1")
	addr, _ := serve(t, &Server{Kind: HTTP, Dialer: s.dialer("http/1.1")})
	for origin, want := range map[string]int{"http://evil.example": http.StatusForbidden, "http://" + addr: http.StatusOK, "": http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := browser(t, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("origin %q: %s, want %d", origin, resp.Status, want)
		}
	}
}
