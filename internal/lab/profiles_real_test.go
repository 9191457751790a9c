package lab

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 has it
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/realproxy"
)

// front is a load balancer with a target of ours behind it, real or simulated.
type front struct {
	t      *testing.T
	addr   string
	roots  *x509.CertPool
	target *scripted
}

// scripted is a target that does what the path of a request says.
type scripted struct {
	ln    net.Listener
	heads chan string
	ends  chan error // how tunnels and unanswered requests ended
}

const (
	frontName = "front.example.test"
	soundKey  = "dGhlIHNhbXBsZSBub25jZQ=="
	tunnelEnd = "bye"
	shortIdle = time.Second
)

func newScripted(t *testing.T) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{ln: ln, heads: make(chan string, 256), ends: make(chan error, 256)}
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			ended := make(chan struct{})
			t.Cleanup(func() { conn.Close(); <-ended })
			go func() {
				defer close(ended)
				defer conn.Close()
				s.serve(conn)
			}()
		}
	}()
	return s
}

// forget drops what the target has seen so far.
func (s *scripted) forget() {
	for {
		select {
		case <-s.heads:
		case <-s.ends:
		default:
			return
		}
	}
}

func (s *scripted) serve(conn net.Conn) {
	br := bufio.NewReader(conn)
	for {
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		req, head, err := readRequestHead(br)
		if err != nil {
			return
		}
		s.heads <- head
		body, _ := io.ReadAll(io.LimitReader(br, max(0, req.ContentLength)))
		switch word := strings.Split(strings.TrimPrefix(req.URL.Path, "/"), "/"); word[0] {
		case "switch": // /switch/<token>/<accept>
			answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + word[1] + "\r\n"
			if len(word) > 2 {
				answer += "Sec-WebSocket-Accept: " + word[2] + "\r\n"
			}
			say(conn, answer+"\r\n")
			_, err := io.Copy(conn, br)
			s.ends <- err
			say(conn, tunnelEnd)
			return
		case "chatter": // says a byte each tenth of the idle time
			say(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+req.Header.Get("Upgrade")+"\r\n\r\n")
			s.ends <- chatter(conn, shortIdle/10)
			return
		case "sink": // takes what comes, for three times the idle time
			say(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+req.Header.Get("Upgrade")+"\r\n\r\n")
			conn.SetDeadline(time.Now().Add(3 * shortIdle))
			_, _ = io.Copy(io.Discard, br)
			return
		case "silent":
			_, err := br.ReadByte()
			s.ends <- err
			return
		case "hints":
			say(conn, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
			fallthrough
		default:
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}
}

func say(w io.Writer, s string) { _, _ = io.WriteString(w, s) } // to one that may have gone: what matters is read elsewhere

// chatter writes a byte again and again, until that fails or for three times the idle timeout.
func chatter(w io.Writer, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(3 * shortIdle); time.Now().Before(end); <-tick.C {
		if _, err := io.WriteString(w, "."); err != nil {
			return err
		}
	}
	return nil
}

// readRequestHead reads a head and keeps it as it came.
func readRequestHead(br *bufio.Reader) (*http.Request, string, error) {
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := br.ReadString('\n')
		if err != nil {
			return nil, "", err
		}
		b.WriteString(line)
	}
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(b.String())))
	return req, b.String(), err
}

// client is a connection to a front whose TLS is done.
type rawClient struct {
	*tls.Conn
	br *bufio.Reader
	f  front
}

func (f front) dial() *rawClient {
	f.t.Helper()
	conn, err := tls.Dial("tcp", f.addr, &tls.Config{ServerName: frontName, RootCAs: f.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &rawClient{conn, bufio.NewReader(conn), f}
}

// ask sends a request and says what came back: a status, and what the target saw in the fields of that name.
func (c *rawClient) ask(request string, fields ...string) string {
	say(c, request)
	return c.answer(fields...)
}

func (c *rawClient) answer(fields ...string) string {
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return "no answer"
	}
	said := fmt.Sprint(resp.StatusCode)
	if resp.StatusCode != 101 {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if len(fields) == 0 {
		return said
	}
	return said + c.f.saw(fields...)
}

func (f front) saw(fields ...string) string {
	select {
	case head := <-f.target.heads:
		said := ""
		for _, name := range fields {
			for line := range strings.SplitSeq(head, "\r\n") {
				if n, v, ok := strings.Cut(line, ": "); ok && strings.EqualFold(n, name) {
					said += " | " + n + ": " + v
				}
			}
		}
		return said
	default:
		return " | the target was not asked"
	}
}

func (f front) ended() string {
	select {
	case err := <-f.target.ends:
		return ending(err)
	case <-time.After(5 * time.Second):
		return "still open"
	}
}

func ending(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return "end"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "end without close_notify"
	}
	return err.Error()
}

func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + frontName + "\r\n" + strings.Join(fields, "") + "\r\n"
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "/", "%2f")
}

const (
	upgradeAlpn = "Connection: Upgrade\r\nUpgrade: alpn\r\n"
	upgradeWS   = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	withKey     = "Sec-WebSocket-Key: " + soundKey + "\r\n"
)

// observations are what can be seen of a load balancer from outside.
var observations = []struct {
	name string
	see  func(f front) string
}{
	{"unknown ALPN", func(f front) string {
		conn, err := tls.Dial("tcp", f.addr, &tls.Config{ServerName: frontName, RootCAs: f.roots, NextProtos: []string{"x-unknown"}})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return "negotiated " + conn.ConnectionState().NegotiatedProtocol
	}},
	{"custom token", func(f front) string { return f.dial().ask(get("/switch/alpn", upgradeAlpn), "Upgrade", "Connection") }},
	{"custom token without Connection", func(f front) string {
		return f.dial().ask(get("/switch/alpn", "Upgrade: alpn\r\n"), "Upgrade", "Connection")
	}},
	{"websocket", func(f front) string {
		return f.dial().ask(get("/switch/websocket/"+acceptOf(soundKey), upgradeWS, withKey), "Upgrade", "Connection")
	}},
	{"websocket without key", func(f front) string { return f.dial().ask(get("/switch/websocket", upgradeWS)) }},
	{"websocket, wrong accept", func(f front) string { return f.dial().ask(get("/switch/websocket/wrong", upgradeWS, withKey)) }},
	{"websocket, no accept", func(f front) string { return f.dial().ask(get("/switch/websocket", upgradeWS, withKey)) }},
	{"two tokens", func(f front) string {
		return f.dial().ask(get("/switch/alpn", "Connection: Upgrade\r\nUpgrade: alpn, other\r\n"), "Upgrade", "Connection")
	}},
	{"two tokens in two fields", func(f front) string {
		return f.dial().ask(get("/switch/alpn", upgradeAlpn, "Upgrade: other\r\n"), "Upgrade", "Connection")
	}},
	{"upgrade by POST with a body", func(f front) string {
		return f.dial().ask(strings.Replace(get("/switch/alpn", upgradeAlpn, "Content-Length: 2\r\n"), "GET", "POST", 1)+"hi", "Upgrade", "Connection")
	}},
	{"another token in the 101", func(f front) string { return f.dial().ask(get("/switch/other", upgradeAlpn)) }},
	{"101 that was not asked for", func(f front) string { return f.dial().ask(get("/switch/alpn")) }},
	{"bytes behind the request", func(f front) string {
		c := f.dial()
		if said := c.ask(get("/switch/alpn", upgradeAlpn) + "early"); said != "101" {
			return said
		}
		say(c, "later")
		b := make([]byte, 5)
		_, err := io.ReadFull(c.br, b)
		return fmt.Sprintf("%s %v", b, err)
	}},
	{"half-close of the client", func(f front) string {
		c := f.dial()
		c.ask(get("/switch/alpn", upgradeAlpn))
		say(c, "x")
		_ = c.CloseWrite()
		b, err := io.ReadAll(c.br)
		return fmt.Sprintf("target %s, client %q %s", f.ended(), b, ending(err))
	}},
	{"end of the client without close_notify", func(f front) string {
		c := f.dial()
		c.ask(get("/switch/alpn", upgradeAlpn))
		_ = c.NetConn().(*net.TCPConn).CloseWrite()
		return f.ended()
	}},
	{"spelling of a field, Host as it came", func(f front) string {
		return f.dial().ask("GET / HTTP/1.1\r\nHost: Front.Example.Test\r\nx-CuStom: 1\r\nExpect-Nothing: 2\r\n\r\n", "x-custom", "expect-nothing")
	}},
	{"a long X-Forwarded-For", func(f front) string {
		return f.dial().ask(get("/", "X-Forwarded-For: 1.1.1.1"+strings.Repeat(", 1.1.1.1", 40)+"\r\n"))
	}},
	{"CONNECT", func(f front) string { return f.dial().ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n") }},
	{"TRACE", func(f front) string { return f.dial().ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n") }},
	{"103", func(f front) string { return f.dial().ask(get("/hints")) }},
	{"a page of its own", func(f front) string {
		c := f.dial()
		say(c, "GET / HTTX\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(c.br, nil)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s, Server %q, %s %q", resp.StatusCode, resp.Status, resp.Header.Get("Server"), resp.Header.Get("Content-Type"), b)
	}},
	{"HTTP on the port of HTTPS", func(f front) string {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		say(conn, get("/"))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return "no answer"
		}
		resp.Body.Close()
		return fmt.Sprint(resp.StatusCode)
	}},
	{"a client that closes before the answer", func(f front) string {
		c := f.dial()
		say(c, get("/silent"))
		<-f.target.heads
		c.Close()
		return f.ended()
	}},
	{"a client that half-closes before the answer", func(f front) string {
		c := f.dial()
		say(c, get("/silent"))
		<-f.target.heads
		begun := time.Now()
		_ = c.CloseWrite()
		f.ended()
		return fmt.Sprint("at once: ", time.Since(begun) < shortIdle/2)
	}},
	{"an answer that does not come", func(f front) string { return f.dial().ask(get("/silent")) }},
	{"an idle tunnel", func(f front) string {
		c := f.dial()
		c.ask(get("/switch/alpn", upgradeAlpn))
		_, err := io.ReadAll(c.br)
		return "client " + ending(err) + ", target " + f.ended()
	}},
	{"a tunnel in which the client speaks", func(f front) string {
		c := f.dial()
		c.ask(get("/sink", upgradeAlpn))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = chatter(c, shortIdle/10)
		}()
		begun := time.Now()
		_, _ = io.Copy(io.Discard, c.br)
		stood := time.Since(begun) > 2*shortIdle
		c.NetConn().Close()
		<-ended
		return fmt.Sprint("stands: ", stood)
	}},
	{"a tunnel in which the target speaks", func(f front) string {
		c := f.dial()
		c.ask(get("/chatter", upgradeAlpn))
		begun := time.Now()
		_, err := io.Copy(io.Discard, c.br)
		return fmt.Sprintf("stands: %v, client %s", time.Since(begun) > 2*shortIdle, ending(err))
	}},
}

func (f front) pki() (tls.Certificate, string, string) {
	f.t.Helper()
	ca, err := certs.NewCA("outer")
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := ca.Issue(certs.Leaf{CommonName: frontName, DNS: []string{frontName}})
	if err != nil {
		f.t.Fatal(err)
	}
	certFile, keyFile, err := certs.WritePEM(f.t.TempDir(), "front", cert)
	if err != nil {
		f.t.Fatal(err)
	}
	f.roots.AddCert(cert.Leaf)
	return cert, certFile, keyFile
}

func simulated(t *testing.T, profile string) front {
	t.Helper()
	f := front{t: t, roots: x509.NewCertPool(), target: newScripted(t)}
	_, cert, key := f.pki()
	s, err := albsim.New(albsim.Config{
		Profile: profile, Attributes: map[string]any{"idle_timeout.timeout_seconds": 1},
		Listeners: []albsim.Listener{{
			Listen: "127.0.0.1:0", Protocol: "HTTPS", Certificates: []albsim.Certificate{{Cert: cert, Key: key}},
			SSLPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06", Default: albsim.Default{Forward: "t"},
		}},
		TargetGroups: []albsim.TargetGroup{{Name: "t", Protocol: "HTTP", Targets: []string{f.target.ln.Addr().String()}}},
	}, albsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	f.addr = s.Addrs()[0].String()
	return f
}

func actual(t *testing.T, product string) front {
	t.Helper()
	f := front{t: t, roots: x509.NewCertPool(), target: newScripted(t)}
	cert, _, _ := f.pki()
	dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r, err := realproxy.Start(t.Context(), product, realproxy.Spec{
		Name: frontName, Certificate: cert, Protocol: "HTTPS", Idle: shortIdle, Dir: dir,
		Next: realproxy.Next{Address: f.target.ln.Addr().String(), Name: "target.example.test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	f.addr = r.Address
	return f
}

func TestProfilesAreTrueToTheRealProducts(t *testing.T) {
	for _, product := range realproxy.Products() {
		t.Run(product, func(t *testing.T) {
			real, sim := actual(t, product), simulated(t, product)
			for _, o := range observations {
				t.Run(o.name, func(t *testing.T) {
					r, s := real, sim
					r.t, s.t = t, t
					r.target.forget()
					s.target.forget()
					got, want := o.see(s), o.see(r)
					mark := "     "
					if got != want {
						mark = "DIFF "
					}
					fmt.Printf("%s%s / %s\n    real %s\n    sim  %s\n", mark, product, o.name, want, got)
				})
			}
		})
	}
}
