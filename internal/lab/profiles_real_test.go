package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"regexp"
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

const refusedBy200 = "2.6 refuses the switch by a 200 without content, newer ones and the simulator by 502"

// known are the observations in which a profile differs from the product, and why that stays.
var known = map[string]string{
	"haproxy/custom token without Connection":        "2.6 leaves Upgrade, newer ones remove it as the profile does; nothing switches either way",
	"haproxy/upgrade by POST with a body":            "it leaves Connection without Upgrade; the simulator drops both",
	"haproxy/a client that closes before the answer": "it resets the target's connection, the simulator closes it",
	"caddy/custom token without Connection":          refusedBy200,
	"caddy/two tokens":                               refusedBy200,
	"caddy/another token in the 101":                 refusedBy200,
	"caddy/101 that was not asked for":               refusedBy200,
	"caddy/a page of its own":                        "what is no request is answered by net/http, in its own words",
	"caddy/an answer that does not come":             "2.6 waits for ever; the simulator's document has a time",
	"caddy/an idle tunnel":                           "2.6 lets it stand; the simulator's document has a time",
	"nginx/103":                                      "1.22 takes it for the final answer and closes; the simulator drops it",
}

// TestProfilesAreTrueToTheRealProducts looks at each real product that a profile is named after, and at the simulator with that
// profile, and asks for the same. A difference is a fault of the profile, unless it is known.
func TestProfilesAreTrueToTheRealProducts(t *testing.T) {
	version := regexp.MustCompile(`nginx/[0-9.]+`)
	for _, product := range realproxy.Products() {
		if _, ok := albsim.LookupProfile(product); !ok {
			continue // Apache has none
		}
		t.Run(product, func(t *testing.T) {
			t.Parallel() // they mostly wait
			real, sim := actual(t, product), simulated(t, product)
			for _, o := range observations {
				real.target.forget()
				sim.target.forget()
				want, got := version.ReplaceAllString(o.see(real), "nginx"), o.see(sim)
				switch why := known[product+"/"+o.name]; {
				case got != want && why == "":
					t.Errorf("%s: simulated %s\nreal      %s", o.name, got, want)
				case got == want && why != "":
					t.Errorf("%s: no difference any more (%s)", o.name, got)
				}
			}
		})
	}
}
