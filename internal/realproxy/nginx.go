package realproxy

import (
	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product:   product.Nginx(nginxConfig),
		protocols: []string{"HTTPS", "TLS", "TCP"}, acceptsProxy: true, sendsSNI: true, sendProxy: []string{"v1"}, preserves: true,
		needs: func(protocol string) []process.MissingError {
			if protocol == "HTTPS" {
				return nil
			}
			return []process.MissingError{product.NginxStream}
		},
	})
}

// An upgrade crosses nginx only when both fields are handed on by name and the target is spoken to in HTTP/1.1 (facts/alb.md
// section 13). proxy_bind without "transparent" takes an address of this machine, so the client's must be one: any of
// 127.0.0.0/8.
var nginxConfig = `{{if ne .Protocol "HTTPS"}}load_module ` + product.NginxStream.Program + `;
{{end}}daemon off;
pid {{.Home}}/pid;
worker_processes 2;
error_log stderr warn;
events { worker_connections 8000; }
{{- if eq .Protocol "HTTPS"}}
http {
    access_log off;
    client_body_temp_path {{.Home}}/body;
    proxy_temp_path {{.Home}}/proxy;
    fastcgi_temp_path {{.Home}}/fastcgi;
    uwsgi_temp_path {{.Home}}/uwsgi;
    scgi_temp_path {{.Home}}/scgi;
    map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
    server {
        listen {{.Address}} ssl http2{{if .AcceptProxy}} proxy_protocol{{end}};
        server_name {{.Name}};
        ssl_certificate {{.Cert}};
        ssl_certificate_key {{.Key}};
        ssl_protocols TLSv1.2 TLSv1.3;
        {{- if .AcceptProxy}}
        set_real_ip_from 127.0.0.0/8;
        real_ip_header proxy_protocol;
        {{- end}}
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_connect_timeout 10s;
        proxy_read_timeout {{.Seconds}}s;
        proxy_send_timeout {{.Seconds}}s;
        proxy_ssl_verify off;
        proxy_ssl_server_name on;
        proxy_ssl_name {{.Next.Name}};
        {{- range .Apps}}
        location {{.Prefix}} { proxy_pass http://{{.Address}}; }
        {{- end}}
        location / { proxy_pass {{if .Next.TLS}}https{{else}}http{{end}}://{{.Next.Address}}; }
    }
    {{- if .Redirect}}
    server {
        listen {{.Redirect}};
        return 301 https://$host$request_uri;
    }
    {{- end}}
}
{{- else}}
stream {
    server {
        listen {{.Address}}{{if eq .Protocol "TLS"}} ssl{{end}}{{if .AcceptProxy}} proxy_protocol{{end}};
        {{- if eq .Protocol "TLS"}}
        ssl_certificate {{.Cert}};
        ssl_certificate_key {{.Key}};
        {{- end}}
        {{- if .AcceptProxy}}
        set_real_ip_from 127.0.0.0/8;
        {{- end}}
        {{- if .PreserveClientIP}}
        proxy_bind $remote_addr;
        {{- end}}
        {{- if .SendProxy}}
        proxy_protocol on;
        {{- end}}
        {{- if .Next.TLS}}
        proxy_ssl on;
        proxy_ssl_verify off;
        proxy_ssl_name {{.Next.Name}};
        proxy_ssl_server_name on;
        {{- end}}
        proxy_connect_timeout 10s;
        proxy_timeout {{.Seconds}}s;
        proxy_pass {{.Next.Address}};
    }
}
{{- end}}
`
