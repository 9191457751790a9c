package realproxy

import (
	"regexp"
	"syscall"
	"text/template"

	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product: product.Product{
			Name: "caddy", Package: "caddy", Binaries: []string{"caddy"},
			Config: template.Must(template.New("caddy").Parse(caddyConfig)),
			Argv:   func(program, _, config string) []string { return []string{program, "run", "--config", config} },
			Death:  syscall.SIGKILL, VersionArg: "version", Version: regexp.MustCompile(`v?([0-9]+\.[0-9]+\.\S+)`),
		},
		protocols: []string{"HTTPS"}, sendsSNI: true,
	})
}

// Caddy 2.6 takes no PROXY header, and ends a tunnel that is idle never: stream_timeout came with 2.7. Its reverse proxy hands
// upgrades on by itself. grace_period bounds how long it waits for tunnels when it is stopped.
const caddyConfig = `{
  "admin": {"disabled": true, "config": {"persist": false}},
  "logging": {"logs": {"default": {"level": "WARN"}}},
  "storage": {"module": "file_system", "root": "{{.Home}}/data"},
  "apps": {
    "tls": {"certificates": {"load_files": [{"certificate": "{{.Cert}}", "key": "{{.Key}}"}]}},
    "http": {"grace_period": "100ms", "servers": {
      "front": {
        "listen": ["{{.Address}}"],
        "automatic_https": {"disable": true},
        "tls_connection_policies": [{}],
        "routes": [
          {{- range .Apps}}
          {"match": [{"path": ["{{.Prefix}}*"]}], "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "{{.Address}}"}]}], "terminal": true},
          {{- end}}
          {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "{{.Next.Address}}"}],
            "transport": {"protocol": "http", "versions": ["1.1"]{{if .Next.TLS}}, "tls": {"insecure_skip_verify": true, "server_name": "{{.Next.Name}}"}{{end}}}}]}
        ]
      }
      {{- if .Redirect}},
      "redirect": {
        "listen": ["{{.Redirect}}"],
        "automatic_https": {"disable": true},
        "routes": [{"handle": [{"handler": "static_response", "status_code": "301", "headers": {"Location": ["https://{http.request.host}{http.request.uri}"]}}]}]
      }
      {{- end}}
    }}
  }
}
`
