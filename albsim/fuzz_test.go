package albsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"
)

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		plainGet, upgradeRequest("alpn"), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET http://a/b?c HTTP/1.0\nX:\n y\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	p := awsALB()
	set := balancerAttributes.read(nil, "attributes", new(Faults))
	server := &Server{plan: &plan{profile: p, set: set}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := newReader(raw)
		r := &request{}
		if err := r.read(br, &p, &set); err != nil {
			return
		}
		if r.class.tier == severe {
			t.Fatalf("a severe request is routed: %+v", r.class)
		}
		if body := bodyReader(br, r.length); body != nil {
			discard(body, 1<<30)
		}
		r.port = 80
		match([]rule{{conditions: []condition{{field: "path-pattern", values: []string{"*a?"}}}}, {}}, r)
		fields := server.rewrite(r, nil)
		var out bytes.Buffer
		c := &targetConn{bw: newWriter(&out)}
		if err := errors.Join(c.writeHead(r.method, r.target, fields), c.bw.Flush()); err != nil {
			t.Fatal(err)
		}
		// What is written must be one head, and read again as the same body: a smuggled second request is a bug.
		again, wide := &request{}, &Profile{LimitKnobs: LimitKnobs{MaxRequestLine: 1 << 20, MaxHeaderLine: 1 << 20, MaxHeaders: 1 << 20}}
		if err := again.read(newReader(out.Bytes()), wide, &set); err != nil {
			t.Fatalf("the target would refuse it: %v\n%q", err, out.Bytes())
		}
		if again.length != r.length || again.method != r.method {
			t.Fatalf("length %d became %d, method %q became %q\n%q", r.length, again.length, r.method, again.method, out.Bytes())
		}
	})
}

func FuzzChunked(f *testing.F) {
	for _, seed := range []string{"3\r\nabc\r\n0\r\n\r\n", "a;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n", "0\r\n\r\n", "ffffffffffffffff\r\n", "3\nabc"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := newReader(raw)
		body, err := io.ReadAll(&chunkedReader{br: br})
		if len(body) > len(raw) {
			t.Fatalf("%d bytes became %d", len(raw), len(body))
		}
		if err != nil {
			return
		}
		rest, err := io.ReadAll(br)
		if err != nil || !bytes.HasSuffix(raw, rest) {
			t.Fatalf("behind the body %q, %v", rest, err)
		}
		var written bytes.Buffer
		w := chunkedWriter{newWriter(&written)}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Close(), w.w.Flush()); err != nil {
			t.Fatal(err)
		}
		// What was taken for the whole is so without what stood behind it, and when it is written anew.
		for _, whole := range [][]byte{raw[:len(raw)-len(rest)], written.Bytes()} {
			if again, err := io.ReadAll(&chunkedReader{br: newReader(whole)}); err != nil || !bytes.Equal(again, body) {
				t.Fatalf("%q became %q, %v", body, again, err)
			}
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("/img/*.p?g", "/img/a/b.png")
	f.Add("*.example.com", "example.com")
	f.Add("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if got, want := glob(pattern, s), plainGlob(pattern, s); got != want {
			t.Fatalf("glob(%q, %q) is %v", pattern, s, got)
		}
	})
}

// plainGlob is glob as one would explain it, over a table.
func plainGlob(pattern, s string) bool {
	met := make([]bool, len(s)+1) // met[i]: what there is of the pattern so far matches s[:i]
	met[0] = true
	for p := range len(pattern) {
		next := make([]bool, len(s)+1)
		for i := range next {
			switch {
			case pattern[p] == '*':
				next[i] = met[i] || i > 0 && next[i-1]
			case i > 0 && (pattern[p] == '?' || pattern[p] == s[i-1]):
				next[i] = met[i-1]
			}
		}
		met = next
	}
	return met[len(s)]
}

// FuzzConditions has a rule of any one condition look at any request.
func FuzzConditions(f *testing.F) {
	for _, field := range []string{"path-pattern", "host-header", "http-header", "http-request-method", "query-string", "source-ip"} {
		f.Add(field, "X-Kind", "*a=b?", "", []byte(plainGet))
		f.Add(field, "X-Kind", "*a=b?", "^/(a|b)+$", []byte(plainGet))
	}
	p := awsALB()
	set := balancerAttributes.read(nil, "attributes", new(Faults))
	f.Fuzz(func(t *testing.T, field, header, value, regex string, raw []byte) {
		var faults Faults
		in := Condition{Field: field, HTTPHeaderName: header, Values: []string{value}}
		if regex != "" {
			in.RegexValues = []string{regex}
		}
		c := planCondition(in, "c", &faults)
		r := &request{}
		if err := r.read(newReader(raw), &p, &set); err != nil || len(faults) > 0 {
			return
		}
		r.client = netip.MustParseAddrPort("127.0.0.1:1")
		met, evaluated := match([]rule{{conditions: []condition{c}}, {priority: -1}}, r)
		if evaluated != 1 || (met.priority == -1) == c.met(r) {
			t.Fatalf("%+v: rule %d, %d evaluated", c, met.priority, evaluated)
		}
	})
}

// FuzzTransform has any rewrite of any request: what the target gets must be one head, of the same method and body.
func FuzzTransform(f *testing.F) {
	f.Add("^/(.*)$", "/$1$1", []byte(plainGet))
	f.Add("a", "b\r\nX: y", []byte(upgradeRequest("alpn")))
	f.Add("^.*$", "$0", []byte("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n"))
	p := awsALB()
	set := balancerAttributes.read(nil, "attributes", new(Faults))
	server := &Server{plan: &plan{profile: p, set: set}}
	wide := &Profile{LimitKnobs: LimitKnobs{MaxRequestLine: 1 << 20, MaxHeaderLine: 1 << 20, MaxHeaders: 1 << 20}}
	f.Fuzz(func(t *testing.T, regex, replace string, raw []byte) {
		var faults Faults
		rewrites := &Rewrites{Rewrites: []Rewrite{{regex, replace}}}
		rules := planTransforms([]Transform{
			{Type: "host-header-rewrite", HostHeaderRewriteConfig: rewrites}, {Type: "url-rewrite", URLRewriteConfig: rewrites},
		}, "t", &faults)
		r := &request{}
		if err := r.read(newReader(raw), &p, &set); err != nil || len(faults) > 0 {
			return
		}
		r.port = 80
		x := &exchange{s: server, req: r, rec: newRecord(server, nil, nil, r)}
		asked := x.rec.requestLine()
		if !x.transform(&rules) {
			return
		}
		var out bytes.Buffer
		c := &targetConn{bw: newWriter(&out)}
		if err := errors.Join(c.writeHead(r.method, r.target, server.rewrite(r, nil)), c.bw.Flush()); err != nil {
			t.Fatal(err)
		}
		again := &request{}
		if err := again.read(newReader(out.Bytes()), wide, &set); err != nil {
			t.Fatalf("the target would refuse it: %v\n%q", err, out.Bytes())
		}
		if again.length != r.length || again.method != r.method || x.rec.rewritten.asked != asked {
			t.Fatalf("length %d became %d, method %q became %q\n%q", r.length, again.length, r.method, again.method, out.Bytes())
		}
	})
}

// FuzzToken has any text be a bearer token and any be a set of keys: nothing of it is let on, since none of it was signed.
func FuzzToken(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTl9.AAAA", []byte(`{"keys":[{"kty":"RSA","kid":"","n":"AQAB","e":"AQAB"}]}`))
	f.Add("eyJhbGciOiJub25lIn0.e30.", []byte(`{"keys":[]}`))
	v := &jwtValidation{config: JWTValidation{Issuer: "i", AdditionalClaims: []JWTClaim{{"string-array", "aud", []string{"a"}}}}}
	f.Fuzz(func(t *testing.T, raw string, set []byte) {
		keys, err := rsaKeys(set)
		if err != nil && keys != nil {
			t.Fatalf("%v and %v", keys, err)
		}
		token, err := parseToken(raw)
		if err != nil {
			return
		}
		v.claims(token, time.Now())
		if token.verify(keys[token.header.KeyID]) == nil {
			t.Fatalf("%q is signed by a key of %q", raw, set)
		}
	})
}

// FuzzDocument has any JSON be a document: it is refused with its faults or understood, and nothing is opened or bound.
func FuzzDocument(f *testing.F) {
	guarded := plain("127.0.0.1:1")
	guarded.WebACL = &WebACL{Rules: []WebACLRule{{Name: "a", ByteMatch: &ByteMatch{FieldToMatch: "uri_path", SearchString: "/", PositionalConstraint: "EXACTLY"}}}}
	guarded.Listeners[0].Rules = []Rule{{
		Priority: 1, Conditions: []Condition{{Field: "path-pattern", RegexValues: []string{"^/a"}}}, Transforms: []Transform{urlRewrite("^/(a)", "/$1")},
		Actions: []Action{
			{Type: "authenticate-oidc", AuthenticateOIDCConfig: &AuthenticateOIDC{Issuer: "https://i"}},
			{Type: "authenticate-cognito", AuthenticateCognitoConfig: &AuthenticateCognito{UserPoolARN: "arn:aws:cognito-idp:r:1:userpool/p"}},
			{Type: "jwt-validation", JWTValidationConfig: &JWTValidation{AdditionalClaims: []JWTClaim{{"single-string", "a", []string{"b"}}}}},
		},
	}}
	for _, cfg := range []Config{plain("127.0.0.1:1"), lambda("http://a/invoke"), ruled([]Rule{fixed(1, 200)}), guarded} {
		b, err := json.Marshal(cfg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"attributes":{"idle_timeout.timeout_seconds":1e300,"routing.http2.enabled":null},"listeners":[{"attributes":{"x":[]}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var cfg Config
		if json.Unmarshal(raw, &cfg) != nil {
			return
		}
		for i := range cfg.Listeners { // a document names files, and those of this machine are none of ours
			cfg.Listeners[i].Certificates = nil
			cfg.Listeners[i].MutualAuthentication = MutualAuthentication{}
		}
		_, err := New(cfg, Options{})
		var faults Faults
		if err != nil && (!errors.As(err, &faults) || len(faults) == 0) {
			t.Fatalf("error %T %v", err, err)
		}
	})
}
