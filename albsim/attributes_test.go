package albsim

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestListenerRenamesWhatTheBalancerAdds(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := secure(t, target.addr)
	cfg.Attributes["routing.http.x_amzn_tls_version_and_cipher_suite.enabled"] = true
	cfg.Listeners[0].MutualAuthentication.Mode = "passthrough"
	cfg.Listeners[0].Attributes = map[string]any{
		"routing.http.request.x_amzn_mtls_clientcert.header_name": "X-Chain",
		"routing.http.request.x_amzn_tls_version.header_name":     "X-Version",
	}
	own := loadCert(t, makeCert(t, nil, "client"))
	c, _ := start(t, cfg, Options{}).dialTLS(&tls.Config{Certificates: []tls.Certificate{own}})
	c.send("GET / HTTP/1.1\r\nHost: a\r\nx-chain: forged\r\n\r\n")
	c.response()
	head := target.head(t)
	if !unescapePEM(t, fieldOf(head, "X-Chain")).Equal(own.Leaf) || fieldOf(head, "X-Version") != "TLSv1.3" ||
		!has(head, "x-amzn-tls-cipher-suite") || has(head, "X-Amzn-Mtls-Clientcert") || strings.Contains(head, "forged") {
		t.Errorf("the target got %q", head)
	}
}

func TestListenerPutsFieldsIntoResponses(t *testing.T) {
	target := newStub(t, nil, func(c *client, _ string) {
		say(c, "HTTP/1.1 200 OK\r\nServer: target\r\nX-Frame-Options: DENY\r\nContent-Length: 0\r\n\r\n")
	})
	cfg := plain(target.addr)
	cfg.Listeners[0].Attributes = map[string]any{
		"routing.http.response.server.enabled":                         "false",
		"routing.http.response.x_frame_options.header_value":           "SAMEORIGIN",
		"routing.http.response.strict_transport_security.header_value": "max-age=1",
	}
	m := start(t, cfg, Options{})
	_, head, _ := m.request(plainGet)
	if strings.Count(head, "X-Frame-Options: ") != 1 || fieldOf(head, "X-Frame-Options") != "SAMEORIGIN" ||
		fieldOf(head, "Strict-Transport-Security") != "max-age=1" || fieldOf(head, "Server") != "target" {
		t.Errorf("the target's answer became %q", head)
	}
	_, head, _ = m.request("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
	if has(head, "Server") || fieldOf(head, "X-Frame-Options") != "SAMEORIGIN" {
		t.Errorf("a page of ours is %q", head)
	}
}

func TestListenerAttributesAreChecked(t *testing.T) {
	for key, value := range map[string]any{
		"routing.http.request.x_amzn_tls_version.header_name":          "a b",
		"routing.http.response.x_content_type_options.header_value":    "sniff",
		"routing.http.response.content_security_policy.header_value":   "a\r\nB: c",
		"routing.http.response.server.enabled":                         "perhaps",
		"routing.http.response.strict_transport_security.header_value": 1,
		"routing.http.response.expires.header_value":                   "0",
	} {
		cfg := plain("127.0.0.1:1")
		cfg.Listeners[0].Attributes = map[string]any{key: value}
		if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "listeners[0].attributes["+key+"]") {
			t.Errorf("%s = %v: %v", key, value, err)
		}
	}
}
