package router

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzConfig holds that no document crashes the router, and that one it takes is the one it shows: put in force again, and
// reloaded into itself, nothing changes. Files are left out: the names would be the fuzzer's.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(document))
	f.Add([]byte(`{"listen": ":0", "upgrade": {"types": []}, "routes": [
		{"name": "a", "sni": ["*.a.test", "b.test"], "alpn": ["h2", "x-ping"], "mode": "passthrough", "backend": {"address": "[::1]:443", "send_proxy": "v2"}},
		{"name": "b", "mode": "passthrough", "backend": {"address": "localhost:https"}}]}`))
	f.Add([]byte(`{"listen": "127.0.0.1:0", "proxy_protocol": {"mode": "required", "trusted": ["10.0.0.1", "::ffff:10.0.0.0/104"]},
		"forwarded_for": {"trusted": ["fd00::/8"]}, "limits": {"client_hello_timeout": "1ns", "connections": -1}, "drain": {"timeout": "-1h"}}`))
	f.Add([]byte(`{"listen": "x", "routes": [{"name": "", "sni": ["*"], "alpn": [""], "mode": "terminate", "backend": {"tls": "on"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var config Config
		if json.Unmarshal(data, &config) != nil {
			return
		}
		config.Admin, config.Certificates = "", nil
		for i := range config.Routes {
			config.Routes[i].ClientAuth.CA = ""
		}
		s, err := New(config, Options{})
		if err != nil {
			if again, second := New(config, Options{}); again != nil || second == nil || second.Error() != err.Error() {
				t.Errorf("refused with %q, and then with %v", err, second)
			}
			return
		}
		shown, _ := s.Config()
		text, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		var read Config
		if err := decoder.Decode(&read); err != nil {
			t.Fatalf("what is shown cannot be read: %v", err)
		}
		if err := s.Reload(read); err != nil {
			t.Fatalf("what is shown is refused: %v", err)
		}
		again, generation := s.Config()
		if same, err := json.Marshal(again); err != nil || generation != 2 || !bytes.Equal(same, text) {
			t.Errorf("generation %d, %v, and another document than %s: %s", generation, err, text, same)
		}
	})
}
