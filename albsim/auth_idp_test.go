package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// provider is an identity provider: whoever comes to /authorize is logged in as one user.
type provider struct {
	*httptest.Server
	t      *testing.T
	signer testSigner

	mu       sync.Mutex // guards what follows
	forms    []url.Values
	users    []string // of HTTP Basic at the token endpoint, with their secrets
	deny     string   // the error that the user comes back with
	idToken  func(claims map[string]any)
	token    func(answer map[string]any)
	userInfo map[string]any
	override map[string]http.HandlerFunc // by path
}

const (
	clientID     = "client one"
	clientSecret = "secret:/+"
)

func newProvider(t *testing.T) *provider {
	p := &provider{t: t, signer: newSigner(t, "idp"), userInfo: map[string]any{"sub": "user-1", "email": "user@example.test"}, override: map[string]http.HandlerFunc{}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

// set changes how the provider behaves.
func (p *provider) set(edit func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edit()
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own := p.override[r.URL.Path]; own != nil {
		own(w, r)
		return
	}
	switch r.URL.Path {
	case "/authorize", "/oauth2/authorize":
		back, err := url.Parse(r.URL.Query().Get("redirect_uri"))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		q := url.Values{"state": {r.URL.Query().Get("state")}}
		if p.deny != "" {
			q.Set("error", p.deny)
		} else {
			q.Set("code", "code-1")
		}
		back.RawQuery = q.Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
	case "/token", "/oauth2/token":
		if err := r.ParseForm(); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		user, secret, _ := r.BasicAuth()
		p.forms, p.users = append(p.forms, r.PostForm), append(p.users, user+" "+secret)
		claims := map[string]any{"iss": p.URL, "aud": clientID, "sub": "user-1", "exp": time.Now().Unix() + 60}
		if p.idToken != nil {
			p.idToken(claims)
		}
		answer := map[string]any{"access_token": "access-1", "token_type": "Bearer", "id_token": p.signer.sign(nil, claims), "expires_in": 3600}
		if p.token != nil {
			p.token(answer)
		}
		_ = json.NewEncoder(w).Encode(answer) // to a balancer that the test waits for
	case "/userinfo", "/oauth2/userInfo":
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(p.userInfo)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// config is an HTTPS listener that authenticates by the provider in front of that target.
func (p *provider) config(target string, edit func(c *AuthenticateOIDC)) (Config, Options) {
	cfg := secure(p.t, target)
	c := &AuthenticateOIDC{
		Issuer: p.URL, AuthorizationEndpoint: p.URL + "/authorize", TokenEndpoint: p.URL + "/token", UserInfoEndpoint: p.URL + "/userinfo",
		ClientID: clientID, ClientSecret: clientSecret,
	}
	if edit != nil {
		edit(c)
	}
	cfg.Listeners[0].Default = Default{Actions: []Action{{Type: "authenticate-oidc", AuthenticateOIDCConfig: c}, {Type: "forward", TargetGroup: "t"}}}
	return cfg, Options{IdentityRoots: p.roots()}
}

func (p *provider) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	return pool
}

// browser keeps cookies, and follows redirects only when told to.
type browser struct {
	*http.Client
	t *testing.T
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	kept, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	return &browser{&http.Client{
		Transport: tr, Jar: kept, Timeout: 2 * patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, t}
}

// answer is a response whose body has been dropped.
type answer struct {
	StatusCode int
	Header     http.Header
	cookies    []*http.Cookie
	at         *url.URL
}

func (b *browser) get(to string) answer {
	b.t.Helper()
	resp, err := b.Do(httpRequest(b.t, to))
	if err != nil {
		b.t.Fatal(err)
	}
	resp.Body.Close()
	return answer{resp.StatusCode, resp.Header, resp.Cookies(), resp.Request.URL}
}

// location is where an answer leads, or empty.
func (a answer) location() string { return a.Header.Get("Location") }

// follow goes where answers lead until there is one that leads nowhere, and returns it.
func (b *browser) follow(to string) answer {
	b.t.Helper()
	for range 8 {
		resp := b.get(to)
		if to = resp.location(); to == "" {
			return resp
		}
	}
	b.t.Fatal("redirected in a circle")
	return answer{}
}

// atCallback is the URL that the provider sends the user back to.
func (b *browser) atCallback(start string) string {
	b.t.Helper()
	return b.get(b.get(start).location()).location()
}

// callbacks are the lines of the access log, of n that there must be, that are about users who were sent back. A line is written behind
// its answer, so that the next request may be before it.
func (m *sim) callbacks(n int) (out [][]string) {
	m.t.Helper()
	for _, line := range m.logLines(n) {
		if one := quoted(line); strings.Contains(one[logRequest], idpResponse) {
			out = append(out, one)
		}
	}
	return out
}
