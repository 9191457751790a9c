package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What a test's peers read, write and close is not checked where it is assigned to _: the end under test tells what came of it.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.example.test"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pair is a TCP connection over loopback.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	server.SetDeadline(time.Now().Add(10 * time.Second))
	return client, server
}

// forceHTTP1 makes crypto/tls answer http/1.1 to a client that did not offer it, as some front ends do: SupportedProtos is the
// very slice the server negotiates from.
func forceHTTP1(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	for i := range hello.SupportedProtos {
		hello.SupportedProtos[i] = "http/1.1"
	}
	return nil, nil
}

func TestClassifyJudgesRealHandshakes(t *testing.T) {
	cert := certificate(t)
	want := []string{"teleport-postgres"}
	plain := func(f func(net.Conn)) func(net.Conn, uint16) {
		return func(c net.Conn, _ uint16) {
			_, _ = c.Read(make([]byte, 4096))
			f(c)
			c.Close()
		}
	}
	server := func(cfg *tls.Config) func(net.Conn, uint16) {
		return func(c net.Conn, version uint16) {
			cfg := cfg.Clone()
			cfg.Certificates, cfg.MaxVersion = []tls.Certificate{cert}, version
			s := tls.Server(c, cfg)
			_ = s.Handshake()
			s.Close()
		}
	}
	tests := []struct {
		name     string
		server   func(net.Conn, uint16)
		identity Identity
		trusting bool
		timeout  time.Duration
		class    Class
		reason   string // a part of it
		only     uint16
	}{
		{
			name: "confirmed by the router", server: server(&tls.Config{NextProtos: want}), identity: Router, class: Direct,
			reason: "confirmed",
		},
		{
			name: "echoed by the load balancer", server: server(&tls.Config{NextProtos: want}), identity: Frontend,
			class: Terminated, reason: "echoed",
		},
		{
			name: "confirmed by anybody, insecure", server: server(&tls.Config{NextProtos: want}), identity: Stranger,
			trusting: true, class: Direct, reason: "not verified",
		},
		{name: "no ALPN", server: server(&tls.Config{}), identity: Frontend, class: Terminated, reason: "without ALPN"},
		{
			name: "no ALPN, a router's certificate", server: server(&tls.Config{}), identity: Router, class: Terminated,
			reason: "router's name",
		},
		{name: "a stranger", server: server(&tls.Config{NextProtos: want}), identity: Stranger, class: Intercepted, reason: "neither"},
		{name: "alert 120", server: server(&tls.Config{NextProtos: []string{"h2"}}), class: Terminated, reason: "alert 120"},
		{
			name:   "foreign ALPN in the clear",
			server: server(&tls.Config{NextProtos: []string{"http/1.1"}, GetConfigForClient: forceHTTP1}), class: Terminated,
			reason: `"http/1.1"`, only: tls.VersionTLS12,
		},
		{
			name:   "foreign ALPN encrypted",
			server: server(&tls.Config{NextProtos: []string{"http/1.1"}, GetConfigForClient: forceHTTP1}), class: Terminated,
			reason: "not offered", only: tls.VersionTLS13,
		},
		{
			name: "alert 40", server: plain(func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }), class: Unknown,
			reason: "alert 40",
		},
		{name: "alert 112 in pieces", server: plain(func(c net.Conn) {
			for _, b := range []byte{21, 3, 3, 0, 2, 2, 112} {
				_, _ = c.Write([]byte{b})
			}
		}), class: Unknown, reason: "alert 112"},
		{
			name:   "HTTP answer",
			server: plain(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), class: Broken,
			reason: "plaintext HTTP",
		},
		{name: "EOF", server: plain(func(net.Conn) {}), class: Broken, reason: "closed"},
		{name: "reset", server: plain(func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }), class: Broken, reason: "reset"},
		{
			name: "black hole", server: func(c net.Conn, _ uint16) { _, _ = io.Copy(io.Discard, c) },
			timeout: 300 * time.Millisecond, class: Broken, reason: "in time",
		},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range tests {
			if tt.only != 0 && tt.only != version {
				continue
			}
			t.Run(tls.VersionName(version)+"/"+tt.name, func(t *testing.T) {
				c, s := pair(t)
				done := make(chan struct{})
				go func() { defer close(done); tt.server(s, version) }()
				recorder := Record(c)
				identity := Unseen
				conn := tls.Client(recorder, &tls.Config{
					ServerName: "a.example.test", NextProtos: want, InsecureSkipVerify: true,
					VerifyConnection: func(tls.ConnectionState) error {
						if identity = tt.identity; identity == Stranger && !tt.trusting {
							return &IdentityError{Inner: io.EOF, Outer: io.EOF}
						}
						return nil
					},
				})
				ctx, cancel := context.WithTimeout(t.Context(), max(tt.timeout, 5*time.Second))
				if tt.timeout > 0 {
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), tt.timeout)
				}
				defer cancel()
				err := conn.HandshakeContext(ctx)
				seen := recorder.Seen()
				recorder.Stop()
				seen.Identity, seen.Trusting = identity, tt.trusting
				state := conn.ConnectionState()
				v := Classify(&state, err, want, seen)
				conn.Close()
				c.Close()
				<-done
				if v.Class != tt.class || !strings.Contains(v.Reason, tt.reason) {
					t.Errorf("%s: %s; want %s: …%s… (%v, %+v)", v.Class, v.Reason, tt.class, tt.reason, err, seen)
				}
				if (v.Cause != nil) != (err != nil) {
					t.Errorf("cause %v, error %v", v.Cause, err)
				}
			})
		}
	}
}

// The reason for the Recorder: should this fail with a newer Go, errors.As could replace it.
func TestAlertNumberIsHiddenByCryptoTLS(t *testing.T) {
	c, s := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Read(make([]byte, 4096))
		_, _ = s.Write([]byte{21, 3, 3, 0, 2, 2, 120})
	}()
	recorder := Record(c)
	err := tls.Client(recorder, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}}).HandshakeContext(t.Context())
	<-done
	if exported, ok := errors.AsType[tls.AlertError](err); ok {
		t.Errorf("crypto/tls hands out alert %d", exported)
	}
	if got := recorder.Seen().Alert; got != 120 {
		t.Errorf("the recorder saw %d", got)
	}
	if got := remoteAlert(err); got != 120 {
		t.Errorf("the fallback saw %d in %v", got, err)
	}
	if got := remoteAlert(&net.OpError{Op: "remote error", Err: io.EOF}); got != -1 {
		t.Errorf("the fallback saw %d in an EOF", got)
	}
}

// An alert behind the ServerHello of TLS 1.3 is encrypted; crypto/tls knows its number, the wire does not show it.
func TestClassifyFindsAnEncryptedAlert(t *testing.T) {
	for alert, class := range map[byte]Class{120: Terminated, 80: Unknown} {
		err := &net.OpError{Op: "remote error", Err: hidden(alert)}
		if v := Classify(nil, err, []string{"a"}, Seen{Alert: -1, ServerHello: true}); v.Class != class {
			t.Errorf("alert %d: %s, %s", alert, v.Class, v.Reason)
		}
	}
}

type hidden uint8

func (hidden) Error() string { return "tls: alert" }

func TestClassifyWithoutALPNGoesByTheCertificate(t *testing.T) {
	for identity, class := range map[Identity]Class{Router: Direct, Frontend: Terminated, Stranger: Intercepted} {
		if v := Classify(new(tls.ConnectionState), nil, nil, Seen{Identity: identity, Alert: -1}); v.Class != class || v.Reason == "" {
			t.Errorf("%s: %s, %s", identity, v.Class, v.Reason)
		}
	}
}

func TestClassifyAlwaysHasAReason(t *testing.T) {
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, os.ErrDeadlineExceeded, context.DeadlineExceeded, errors.New("x"),
		&net.OpError{Op: "read", Err: syscall.EHOSTUNREACH},
		tls.RecordHeaderError{},
		&IdentityError{Inner: io.EOF, Outer: io.EOF},
	} {
		if v := Classify(nil, err, nil, Seen{Alert: -1}); v.Reason == "" || v.Class == Direct || v.Class == Terminated {
			t.Errorf("%v: %s, %q", err, v.Class, v.Reason)
		}
	}
	if v := Classify(nil, nil, nil, Seen{Alert: -1}); v.Class != Unknown {
		t.Errorf("nothing at all: %s", v.Class)
	}
}

// lastWords hands its bytes out together with the end, as crypto/tls does when a close_notify is glued to data.
type lastWords struct {
	net.Conn
	text string
}

func (l *lastWords) Read(p []byte) (int, error) {
	n := copy(p, l.text)
	l.text = l.text[n:]
	return n, io.EOF
}

func TestRecorderHasMetTheEndOnlyWhenNothingElseCame(t *testing.T) {
	r := Record(&lastWords{text: "bye"})
	if n, err := r.Read(make([]byte, 16)); n != 3 || err != nil || r.SawEOF() {
		t.Errorf("the last bytes: %d, %v, seen %v", n, err, r.SawEOF())
	}
	if n, err := r.Read(make([]byte, 16)); n != 0 || !errors.Is(err, io.EOF) || !r.SawEOF() {
		t.Errorf("the end: %d, %v, seen %v", n, err, r.SawEOF())
	}
}

func FuzzRecorder(f *testing.F) {
	f.Add([]byte{21, 3, 3, 0, 2, 2, 120}, 1)
	f.Add([]byte{22, 3, 3, 0, 4, 2, 0, 0, 0}, 3)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		r := Record(nil)
		step := max(1, min(size, len(in)))
		for p := in; len(p) > 0; {
			n := min(step, len(p))
			if !r.done {
				r.look(p[:n])
			}
			p = p[n:]
		}
		if seen := r.Seen(); seen.Alert < -1 || seen.Alert > 255 || len(r.body) > maxRecorded {
			t.Fatalf("%+v", seen)
		}
	})
}
