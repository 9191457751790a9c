package albsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// testSigner is an issuer's key.
type testSigner struct {
	t   *testing.T
	key *rsa.PrivateKey
	kid string
}

// rsaKey is made once: it takes a while.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newSigner(t *testing.T, kid string) testSigner {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return testSigner{t, key, kid}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s testSigner) jwk() map[string]string {
	return map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": s.kid,
		"n": b64(s.key.N.Bytes()), "e": b64(big.NewInt(int64(s.key.E)).Bytes()),
	}
}

func (s testSigner) sign(header map[string]any, claims any) string {
	s.t.Helper()
	if header == nil {
		header = map[string]any{"alg": "RS256", "kid": s.kid}
	}
	signed := b64(asJSON(s.t, header)) + "." + b64(asJSON(s.t, claims))
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return signed + "." + b64(signature)
}

const issuer = "https://issuer.example.test"

func validated(t *testing.T, target string, k *keyServer, claims ...JWTClaim) (Config, Options) {
	cfg := secure(t, target)
	cfg.Listeners[0].Default = Default{Actions: []Action{
		{Type: "jwt-validation", JWTValidationConfig: &JWTValidation{JWKSEndpoint: k.URL + "/keys", Issuer: issuer, AdditionalClaims: claims}},
		{Type: "forward", TargetGroup: "t"},
	}}
	return cfg, Options{IdentityRoots: k.roots()}
}

// ask sends a request over TLS on a connection of its own.
func (m *sim) ask(raw string) (int, string, string) {
	m.t.Helper()
	c, _ := m.dialTLS(&tls.Config{})
	c.send(raw)
	return c.response()
}

func bearing(token string) string {
	return "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + "\r\nConnection: close\r\n\r\n"
}

func TestJWTValidationLetsAValidTokenOn(t *testing.T) {
	s := newSigner(t, "one")
	k := newKeyServer(t, keysOf(s))
	target := newStub(t, nil, ok)
	cfg, opt := validated(
		t, target.addr, k,
		JWTClaim{"single-string", "team", []string{"blue"}},
		JWTClaim{"space-separated-values", "scope", []string{"read", "write"}},
		JWTClaim{"string-array", "aud", []string{"api"}},
	)
	m := start(t, cfg, opt)
	now := time.Now().Unix()
	token := s.sign(nil, map[string]any{
		"iss": issuer, "exp": now + 60, "nbf": now - 1, "iat": now - 1, "team": "blue", "scope": "write admin read", "aud": []string{"x", "api"},
	})
	for range 3 {
		if status, _, _ := m.ask(bearing(token)); status != 200 {
			t.Fatalf("status %d", status)
		}
		if head := target.head(t); fieldOf(head, "Authorization") != "Bearer "+token {
			t.Errorf("the target got %q", head)
		}
	}
	if n := k.asked.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if line := quoted(m.logLines(3)[0]); line[logActions] != "jwt-validation,forward" || line[logReason] != "-" {
		t.Errorf("logged %q", line)
	}
}

func TestJWTValidationRefusesWith401(t *testing.T) {
	s := newSigner(t, "one")
	k := newKeyServer(t, keysOf(s))
	target := newStub(t, nil, ok)
	cfg, opt := validated(t, target.addr, k, JWTClaim{"space-separated-values", "scope", []string{"read"}})
	m := start(t, cfg, opt)
	now := time.Now().Unix()
	claims := func(edit func(c map[string]any)) map[string]any {
		c := map[string]any{"iss": issuer, "exp": now + 60, "scope": "read"}
		edit(c)
		return c
	}
	good := claims(func(map[string]any) {})
	forged := strings.Split(s.sign(nil, good), ".")
	forged[1] = b64(asJSON(t, claims(func(c map[string]any) { c["scope"] = "read all" })))
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es256 := b64([]byte(`{"alg":"ES256","kid":"one"}`)) + "." + b64(asJSON(t, good))
	sum := sha256.Sum256([]byte(es256))
	signature, err := ecdsa.SignASN1(rand.Reader, elliptical, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ name, authorization, reason string }{
		{"no field", "", "JWTHeaderNotPresent"},
		{"another scheme", "Basic " + s.sign(nil, good), "JWTRequestFormatInvalid"},
		{"two fields", "Bearer " + s.sign(nil, good) + "\r\nAuthorization: Bearer x", "JWTRequestFormatInvalid"},
		{"no token", "Bearer a.b", "JWTRequestFormatInvalid"},
		{"no object", "Bearer " + s.sign(nil, nil), "JWTRequestFormatInvalid"},
		{"two objects", "Bearer " + b64([]byte(`{"alg":"RS256"}`)) + "." + b64([]byte(`{}{}`)) + ".", "JWTRequestFormatInvalid"},
		{"forged", "Bearer " + strings.Join(forged, "."), "JWTSignatureValidationError"},
		{"none", "Bearer " + b64([]byte(`{"alg":"none"}`)) + "." + b64(asJSON(t, good)) + ".", "JWTSignatureValidationError"},
		{"ES256", "Bearer " + es256 + "." + b64(signature), "JWTSignatureValidationError"},
		{"HS256 by the public key", "Bearer " + s.sign(map[string]any{"alg": "HS256", "kid": "one"}, good), "JWTSignatureValidationError"},
		{"critical", "Bearer " + s.sign(map[string]any{"alg": "RS256", "kid": "one", "crit": []string{"b64"}}, good), "JWTSignatureValidationError"},
		{"another key", "Bearer " + s.sign(map[string]any{"alg": "RS256", "kid": "two"}, good), "JWTSignatureValidationError"},
		{"expired", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["exp"] = now - 1 })), "JWTClaimValueInvalid"},
		{"never expires", "Bearer " + s.sign(nil, claims(func(c map[string]any) { delete(c, "exp") })), "JWTClaimNotPresent"},
		{"expires as text", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["exp"] = "9999999999" })), "JWTClaimFormatInvalid"},
		{"not yet", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["nbf"] = now + 60 })), "JWTClaimValueInvalid"},
		{"of the future", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["iat"] = now + 60 })), "JWTClaimValueInvalid"},
		{"another issuer", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["iss"] = issuer + "/" })), "JWTClaimValueInvalid"},
		{"no issuer", "Bearer " + s.sign(nil, claims(func(c map[string]any) { delete(c, "iss") })), "JWTClaimNotPresent"},
		{"no scope", "Bearer " + s.sign(nil, claims(func(c map[string]any) { delete(c, "scope") })), "JWTClaimNotPresent"},
		{"another scope", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["scope"] = "reader" })), "JWTClaimValueInvalid"},
		{"scopes in a list", "Bearer " + s.sign(nil, claims(func(c map[string]any) { c["scope"] = []string{"read"} })), "JWTClaimFormatInvalid"},
	} {
		line := ""
		if c.authorization != "" {
			line = "Authorization: " + c.authorization + "\r\n"
		}
		status, _, body := m.ask("GET / HTTP/1.1\r\nHost: a\r\n" + line + "Connection: close\r\n\r\n")
		if status != 401 || !strings.Contains(body, "401 Authorization Required") {
			t.Errorf("%s: status %d, %q", c.name, status, body)
		}
		if logged := quoted(m.logLines(i + 1)[i]); logged[logStatus] != "401" || logged[logActions] != "jwt-validation" || logged[logReason] != c.reason {
			t.Errorf("%s: logged %s %s %s, want %s", c.name, logged[logStatus], logged[logActions], logged[logReason], c.reason)
		}
	}
	if target.accepts.Load() != 0 {
		t.Error("the target was reached")
	}
	m.counted(map[string]int64{"JWTValidationFailureCount": 22, "HTTPCode_ELB_4XX_Count": 22})
}

func TestJWTValidationIsChecked(t *testing.T) {
	action := func(edit func(c *JWTValidation)) []Action {
		c := &JWTValidation{JWKSEndpoint: "https://a/keys", Issuer: issuer}
		edit(c)
		return []Action{{Type: "jwt-validation", JWTValidationConfig: c}, {Type: "forward", TargetGroup: "t"}}
	}
	claim := func(c JWTClaim) []Action {
		return action(func(v *JWTValidation) { v.AdditionalClaims = []JWTClaim{c} })
	}
	fine := action(func(*JWTValidation) {})
	for want, actions := range map[string][]Action{
		"actions[0].jwt_validation_config: is needed":       {{Type: "jwt-validation"}, fine[1]},
		"jwks_endpoint: \"http://a/keys\": must be a full":  action(func(c *JWTValidation) { c.JWKSEndpoint = "http://a/keys" }),
		"issuer: must have from 1":                          action(func(c *JWTValidation) { c.Issuer = "" }),
		"jwks_endpoint: must have from 1":                   action(func(c *JWTValidation) { c.JWKSEndpoint += strings.Repeat("a", 256) }),
		"11, and an action has at most 10":                  action(func(c *JWTValidation) { c.AdditionalClaims = make([]JWTClaim, 11) }),
		"must be a claim other than":                        claim(JWTClaim{"single-string", "exp", []string{"a"}}),
		"additional_claims[0].format":                       claim(JWTClaim{"number", "a", []string{"a"}}),
		"2 values: single-string has one":                   claim(JWTClaim{"single-string", "a", []string{"a", "b"}}),
		"no space in space-separated-values":                claim(JWTClaim{"space-separated-values", "a", []string{"a b"}}),
		"with at most one of":                               {fine[0], fine[0], fine[1]},
		"a forward, redirect or fixed-response must be the": {fine[0]},
		"[1].type: jwt-validation: a forward":               {fine[0], fine[0]},
	} {
		cfg := secure(t, "127.0.0.1:1")
		cfg.Listeners[0].Default = Default{Actions: actions}
		if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	cfg := plain("127.0.0.1:1")
	cfg.Listeners[0].Default = Default{Actions: fine}
	if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "default.actions[0].type: jwt-validation needs an HTTPS listener") {
		t.Errorf("on an HTTP listener: %v", err)
	}
}
