package peerrouter

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait on the network.
const patience = 30 * time.Second

// backend answers each connection with its name, inside TLS when it has a certificate.
func backend(t *testing.T, name string, cert *tls.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(c, name)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestEveryProductRoutesByName(t *testing.T) {
	ca, err := certs.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(names ...string) tls.Certificate {
		cert, err := ca.Issue(certs.Leaf{CommonName: "test", DNS: names})
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	passed := issue("a.pass.test", "b.pass.test")
	all := []Route{
		{Name: "a", SNI: []string{"a.pass.test"}, Backend: backend(t, "pass-a", &passed)},
		{Name: "b", SNI: []string{"other.pass.test", "b.pass.test"}, Backend: backend(t, "pass-b", &passed)},
		{Name: "c", SNI: []string{"c.end.test"}, Terminate: true, Backend: backend(t, "end-c", nil)},
		{Name: "d", SNI: []string{"other.end.test", "d.end.test"}, Terminate: true, Backend: backend(t, "end-d", nil)},
		{Name: "e", SNI: []string{"e.end.test"}, ALPN: []string{"tlsroute-echo"}, Terminate: true, Backend: backend(t, "end-e", nil)},
	}
	for _, name := range Products() {
		for _, tuned := range []bool{false, true} {
			if Check(name, tuned) != nil {
				continue
			}
			t.Run(name+map[bool]string{true: "-tuned", false: ""}[tuned], func(t *testing.T) {
				dir, err := os.MkdirTemp("", "tlsroute-bench-test-") //nolint:usetesting // other accounts cannot reach t.TempDir
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
						t.Errorf("left behind: %v, %v", left, err)
					}
					_ = os.RemoveAll(dir)
				})
				spec := Spec{Certificate: issue("c.end.test", "d.end.test", "e.end.test"), Tuned: tuned, Dir: dir}
				for _, r := range all {
					if CheckRoute(name, r) == nil {
						spec.Routes = append(spec.Routes, r)
					}
				}
				if len(spec.Routes) < 2 {
					t.Fatalf("%s plays only %v", name, spec.Routes)
				}
				r, err := Start(t.Context(), name, spec)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					if err := r.Close(ctx); err != nil {
						t.Error(err)
					}
				}()
				if r.Version == "" || strings.HasSuffix(r.String(), "tuned") != tuned || r.PID() <= 0 {
					t.Errorf("%q, process %d", r, r.PID())
				}
				for _, route := range spec.Routes {
					address, want := r.Pass, "pass-"+route.Name
					if route.Terminate {
						address, want = r.Terminate, "end-"+route.Name
					}
					server := route.SNI[len(route.SNI)-1]
					d := tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: server, NextProtos: route.ALPN}, NetDialer: &net.Dialer{Timeout: patience}}
					conn, err := d.DialContext(t.Context(), "tcp", address)
					// sslh-select 1.20 closes some connections that come while another ends, as that of the start's own probe does here.
					for tries := 0; name == "sslh" && err != nil && tries < 10; tries++ {
						conn, err = d.DialContext(t.Context(), "tcp", address)
					}
					if err != nil {
						t.Fatalf("%s: %v", server, err)
					}
					_ = conn.SetDeadline(time.Now().Add(patience))
					got, _ := io.ReadAll(conn) // some of them end without close_notify
					state := conn.(*tls.Conn).ConnectionState()
					conn.Close()
					if string(got) != want {
						t.Errorf("%s leads to %q, want %q", server, got, want)
					}
					if len(route.ALPN) > 0 && state.NegotiatedProtocol != route.ALPN[0] {
						t.Errorf("%s confirms %q, want %q", server, state.NegotiatedProtocol, route.ALPN[0])
					}
					if route.Terminate && (state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519) {
						t.Errorf("%s: version %x, curve %v", server, state.Version, state.CurveID)
					}
				}
			})
		}
	}
}

func TestWhatAProductCannotPlayIsSaid(t *testing.T) {
	for want, err := range map[string]error{
		`no peer product "squid": there are haproxy, nginx, sslh, stunnel`:         Check("squid", false),
		"sslh has nothing that is tuned here: leave tuned out":                     Check("sslh", true),
		"sslh ends no TLS: route r must be of mode passthrough":                    CheckRoute("sslh", Route{Name: "r", SNI: []string{"a.test"}, Terminate: true}),
		"stunnel always ends TLS: route r must be of mode terminate":               CheckRoute("stunnel", Route{Name: "r", SNI: []string{"a.test"}}),
		"stunnel confirms no ALPN where it ends TLS: route r must be without alpn": CheckRoute("stunnel", Route{Name: "r", SNI: []string{"a.test"}, ALPN: []string{"x"}, Terminate: true}),
		"nginx routes by SNI here, and route r has none":                           CheckRoute("nginx", Route{Name: "r"}),
		"haproxy is configured here for exact names, and route r has a wildcard":   CheckRoute("haproxy", Route{Name: "r", SNI: []string{"*.test"}}),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAMissingProductIsSaidByItsPackage(t *testing.T) {
	t.Setenv(process.SearchVariable, t.TempDir())
	for name, pkg := range map[string]string{"haproxy": "haproxy", "nginx": "nginx", "sslh": "sslh", "stunnel": "stunnel4"} {
		_, err := Start(t.Context(), name, Spec{})
		missing, ok := errors.AsType[*process.MissingError](err)
		if !ok || missing.Package != pkg {
			t.Errorf("%s: %v, want the package %s", name, err, pkg)
		}
	}
}
