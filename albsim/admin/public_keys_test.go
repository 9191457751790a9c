package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// TestPublicKeysAreServed logs a user in, and looks up the key that the target is told of.
func TestPublicKeysAreServed(t *testing.T) {
	told := make(chan string, 1)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("X-Amzn-Oidc-Data") }))
	defer target.Close()
	var provider *httptest.Server
	provider = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/authorize":
			q := r.URL.Query()
			http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {"c"}, "state": q["state"]}.Encode(), http.StatusFound)
		case "/token":
			claims := fmt.Sprintf(`{"iss":%q,"aud":"c","sub":"u","exp":%d}`, provider.URL, time.Now().Unix()+60)
			_, _ = fmt.Fprintf(w, `{"access_token":"a","id_token":"e30.%s.e30"}`, base64.RawURLEncoding.EncodeToString([]byte(claims)))
		default:
			_, _ = io.WriteString(w, `{"sub":"u"}`)
		}
	}))
	defer provider.Close()
	roots := x509.NewCertPool()
	roots.AddCert(provider.Certificate())

	s, err := albsim.New(albsim.Config{
		Admin: "127.0.0.1:0",
		Listeners: []albsim.Listener{{
			Listen: "127.0.0.1:0", Protocol: "HTTPS", Certificates: []albsim.Certificate{certificate(t, provider)},
			SSLPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06",
			Default: albsim.Default{Actions: []albsim.Action{
				{Type: "authenticate-oidc", AuthenticateOIDCConfig: &albsim.AuthenticateOIDC{
					Issuer: provider.URL, AuthorizationEndpoint: provider.URL + "/authorize", TokenEndpoint: provider.URL + "/token",
					UserInfoEndpoint: provider.URL + "/userinfo", ClientID: "c", ClientSecret: "s",
				}},
				{Type: "forward", TargetGroup: "web"},
			}},
		}},
		TargetGroups: []albsim.TargetGroup{{Name: "web", Protocol: "HTTP", Targets: []string{target.Listener.Addr().String()}}},
	}, albsim.Options{Admin: New, IdentityRoots: roots})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	kept, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: kept, Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test's own server
	}}
	if status, body := (port{t, "https://" + s.Addrs()[0].String(), browser}).ask(http.MethodGet, "/"); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	head, _, _ := strings.Cut(<-told, ".")
	raw, err := base64.URLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ Kid string }
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	p := port{t, "http://" + s.AdminAddr().String(), &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	status, body := p.ask(http.MethodGet, "/public-keys/"+header.Kid)
	block, _ := pem.Decode([]byte(body))
	if status != http.StatusOK || block == nil {
		t.Fatalf("status %d: %s", status, body)
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Error(err)
	}
	if status, _ := p.ask(http.MethodGet, "/public-keys/another"); status != http.StatusNotFound {
		t.Errorf("another key: status %d", status)
	}
	if _, body := p.ask(http.MethodGet, "/config"); !strings.Contains(body, `"client_secret": "hidden"`) {
		t.Errorf("the configuration is shown as %s", body)
	}
}

// certificate writes the one of a test server into files.
func certificate(t *testing.T, from *httptest.Server) albsim.Certificate {
	t.Helper()
	pair := from.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := albsim.Certificate{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{
		out.Cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, out.Key: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
