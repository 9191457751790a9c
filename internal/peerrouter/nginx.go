package peerrouter

import (
	"regexp"
	"syscall"
	"text/template"

	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

// nginxStream is where Debian puts the module for TCP and TLS.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

func init() {
	kinds.Register(kind{
		Product: product.Product{
			Name: "nginx", Package: "nginx", Binaries: []string{"nginx"},
			Config: template.Must(template.New("nginx").Parse(nginxConfig)),
			Argv: func(program, dir, config string) []string {
				return []string{program, "-p", dir, "-c", config, "-e", "stderr"}
			},
			// By SIGTERM the master ends its workers too, at once.
			Death: syscall.SIGTERM, VersionArg: "-v", Version: regexp.MustCompile(`nginx/(\S+)`),
		},
		passes: true, terminates: true, tunes: true, alpn: true,
		needs: []process.MissingError{{Program: nginxStream, Package: "libnginx-mod-stream"}},
	})
}

// Buffers of 256 KiB in the place of 16 save a third of the processor time of bulk (facts/performance.md section 4.1).
const nginxConfig = `load_module ` + nginxStream + `;
daemon off;
pid {{.Home}}/pid;
worker_processes auto;
error_log stderr warn;
events { worker_connections 16000; }
stream {
    {{- if .Tuned}}
    proxy_buffer_size 256k;
    {{- end}}
    proxy_timeout 10m;
{{- if .Pass}}
    map $ssl_preread_server_name $pass {
        {{- range $t := .Passed}}{{range .SNI}}
        {{.}} {{$t.Backend}};
        {{- end}}{{end}}
    }
    server { listen {{.Pass}}; ssl_preread on; proxy_pass $pass; }
{{- end}}
{{- if .Terminate}}
    map $ssl_server_name $term {
        {{- range $t := .Terminated}}{{range .SNI}}
        {{.}} {{$t.Backend}};
        {{- end}}{{end}}
    }
    server {
        listen {{.Terminate}} ssl;
        proxy_pass $term;
        ssl_certificate {{.Cert}};
        ssl_certificate_key {{.Key}};
        ssl_protocols TLSv1.3;
        ssl_session_tickets off;
        ssl_session_cache off;
        ssl_ecdh_curve X25519;
        {{- with .ALPN}}
        ssl_alpn{{range .}} {{.}}{{end}};
        {{- end}}
    }
{{- end}}
}
`
