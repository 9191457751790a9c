package albsim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// keyServer serves a set of keys over TLS.
type keyServer struct {
	*httptest.Server
	asked  atomic.Int32
	answer atomic.Value // http.HandlerFunc
}

func newKeyServer(t *testing.T, answer http.HandlerFunc) *keyServer {
	k := &keyServer{}
	k.answer.Store(answer)
	k.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.asked.Add(1)
		k.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(k.Close)
	return k
}

func keysOf(signers ...testSigner) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		set := map[string]any{}
		keys := []map[string]string{}
		for _, s := range signers {
			keys = append(keys, s.jwk())
		}
		set["keys"] = keys
		_ = json.NewEncoder(w).Encode(set) // to a client that the test waits for
	}
}

func (k *keyServer) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(k.Certificate())
	return pool
}

func TestJWTValidationWithoutKeysIs500(t *testing.T) {
	s := newSigner(t, "one")
	many := make([]testSigner, 11)
	for i := range many {
		many[i] = s
	}
	for name, answer := range map[string]http.HandlerFunc{
		"an error":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"over 150 KB": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[]}` + strings.Repeat(" ", 150<<10)))
		},
		"11 keys": keysOf(many...),
		"bad modulus": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"RSA","n":"+"}]}`))
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeyServer(t, answer)
			cfg, opt := validated(t, "127.0.0.1:1", k)
			if name == "no answer" {
				opt.TimeScale = 0.1 // 5 s become half a second
			}
			m := start(t, cfg, opt)
			token := s.sign(nil, map[string]any{"iss": issuer, "exp": time.Now().Unix() + 60})
			if status, _, _ := m.ask(bearing(token)); status != 500 {
				t.Errorf("status %d", status)
			}
			if line := quoted(m.logLines(1)[0]); line[logActions] != "jwt-validation" || line[logReason] != "-" {
				t.Errorf("logged %q", line)
			}
			if name != "an error" {
				return
			}
			k.answer.Store(keysOf(s)) // a failure is not kept
			m2, _, _ := m.ask(bearing(token))
			if m2 != 502 { // the target is a closed port
				t.Errorf("with the keys there: status %d", m2)
			}
		})
	}
}

func TestJWTKeysAreFetchedOnceForManyAndAgainForANewOne(t *testing.T) {
	one, two := newSigner(t, "one"), newSigner(t, "two")
	const many = 8
	waiting, release := make(chan struct{}, many), make(chan struct{})
	k := newKeyServer(t, func(w http.ResponseWriter, r *http.Request) {
		waiting <- struct{}{}
		<-release
		keysOf(one)(w, r)
	})
	cfg, opt := validated(t, newStub(t, nil, ok).addr, k)
	m := start(t, cfg, opt)
	claims := map[string]any{"iss": issuer, "exp": time.Now().Unix() + 60}
	var all sync.WaitGroup
	var good atomic.Int32
	for range many {
		c, _ := m.dialTLS(&tls.Config{})
		c.send(bearing(one.sign(nil, claims)))
		all.Go(func() {
			if line, err := c.br.ReadString('\n'); err == nil && strings.Contains(line, " 200 ") {
				good.Add(1)
			}
		})
	}
	<-waiting
	close(release)
	all.Wait()
	if good.Load() != many || k.asked.Load() != 1 {
		t.Errorf("%d of %d got through, the keys were fetched %d times", good.Load(), many, k.asked.Load())
	}

	k.answer.Store(keysOf(one, two))
	if status, _, _ := m.ask(bearing(two.sign(nil, claims))); status != 401 || k.asked.Load() != 1 {
		t.Errorf("a new key at once: status %d, fetched %d times", status, k.asked.Load())
	}
	set := &m.listeners[0].plan.rules[0].action.guard.(*jwtValidation).keys
	set.mu.Lock()
	set.fetched = set.fetched.Add(-keysAgain)
	set.mu.Unlock()
	for _, s := range []testSigner{one, two, one, two} {
		if status, _, _ := m.ask(bearing(s.sign(nil, claims))); status != 200 {
			t.Errorf("key %s, a while later: status %d", s.kid, status)
		}
	}
	if n := k.asked.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
}
