package peerrouter

import (
	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product: product.Nginx(nginxConfig),
		passes:  true, terminates: true, tunes: true, alpn: true,
		needs: []process.MissingError{product.NginxStream},
	})
}

// Buffers of 256 KiB in the place of 16 save a third of the processor time of bulk (facts/performance.md section 4.1).
var nginxConfig = `load_module ` + product.NginxStream.Program + `;
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
