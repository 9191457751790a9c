package albsim

import (
	"crypto/tls"
	"maps"
	"slices"
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

// TestAttributesOfAnotherKindAreRefused gives each kind every key of AWS's, at a value that its own kind takes: what it has is
// taken, what another has is refused as that, and what nobody has by its name.
func TestAttributesOfAnotherKindAreRefused(t *testing.T) {
	own := map[string]any{}
	for _, defaults := range []map[string]any{groupAttributes.defaults(), networkGroupAttributes.defaults(), lambdaAttributes.defaults()} {
		maps.Copy(own, defaults)
	}
	alb, nlb := plain("127.0.0.1:1"), throughTCP("127.0.0.1:1")
	function := lambda("http://127.0.0.1:1/invoke")
	for name, one := range map[string]struct {
		cfg                Config
		defaults           map[string]any
		foreign, elsewhere int // of AWS's keys
	}{
		"alb":    {alb, groupAttributes.defaults(), 1, 8},
		"nlb":    {nlb, networkGroupAttributes.defaults(), 0, 10},
		"lambda": {function, lambdaAttributes.defaults(), 0, len(groupKeys) - 1},
	} {
		foreign, elsewhere := 0, 0
		for _, key := range groupKeys {
			value, has := one.defaults[key]
			if !has {
				value = own[key]
			}
			cfg := one.cfg
			cfg.TargetGroups = slices.Clone(cfg.TargetGroups)
			cfg.TargetGroups[0].Attributes = map[string]any{key: value}
			_, err := New(cfg, Options{})
			switch {
			case has && err != nil:
				t.Errorf("%s: %s at its default: %v", name, key, err)
			case has:
			case err == nil || !strings.Contains(err.Error(), "target_groups[0].attributes["+key+"]"):
				t.Errorf("%s: %s is not its own: %v", name, key, err)
			case strings.Contains(err.Error(), "does not simulate"):
				foreign++
			case strings.Contains(err.Error(), "AWS refuses it here"):
				elsewhere++
			default:
				t.Errorf("%s: %s: %v", name, key, err)
			}
		}
		if foreign != one.foreign || elsewhere != one.elsewhere || foreign+elsewhere+len(one.defaults) != len(groupKeys) {
			t.Errorf("%s: %d not simulated, %d of others, %d own: of %d keys", name, foreign, elsewhere, len(one.defaults), len(groupKeys))
		}
	}
	alb.Attributes = map[string]any{"dns_record.client_routing_policy": "any_availability_zone", "zonal_shift.config.enabled": false, "zonal": 1}
	alb.Listeners[0].Attributes = map[string]any{"tcp.idle_timeout.seconds": 350}
	_, err := New(alb, Options{})
	for _, want := range []string{
		"attributes[dns_record.client_routing_policy]: belongs to another kind", "attributes[zonal_shift.config.enabled]: an attribute of AWS that",
		"attributes[zonal]: no such attribute", "listeners[0].attributes[tcp.idle_timeout.seconds]: belongs to another kind",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestEveryAttributeIsOneOfAWSsKeys keeps the lists of what AWS has and of what is read from one another's way.
func TestEveryAttributeIsOneOfAWSsKeys(t *testing.T) {
	for name, one := range map[string]struct {
		every    []string
		foreign  []string
		defaults map[string]any
	}{
		"balancer":         {balancerKeys, balancerAttributes.foreign, balancerAttributes.defaults()},
		"network balancer": {balancerKeys, networkAttributes.foreign, networkAttributes.defaults()},
		"listener":         {listenerKeys, listenerAttributes.foreign, listenerAttributes.defaults()},
		"network listener": {listenerKeys, networkListenerAttributes.foreign, networkListenerAttributes.defaults()},
		"group":            {groupKeys, groupAttributes.foreign, groupAttributes.defaults()},
		"network group":    {groupKeys, networkGroupAttributes.foreign, networkGroupAttributes.defaults()},
	} {
		if !slices.IsSorted(one.every) {
			t.Errorf("%s: the keys are not in order", name)
		}
		for _, key := range slices.Concat(one.foreign, slices.Collect(maps.Keys(one.defaults))) {
			if !slices.Contains(one.every, key) {
				t.Errorf("%s: %s is no key of AWS's", name, key)
			}
			if _, read := one.defaults[key]; read && slices.Contains(one.foreign, key) {
				t.Errorf("%s: %s is read and not simulated", name, key)
			}
		}
	}
}
