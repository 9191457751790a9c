//go:build linux

package main

// HAProxy refuses to start when its pipes and twice maxconn exceed the limit of descriptors. TLS 1.3 has no tickets and one
// curve, so that every handshake is a full one and like the others'.
const haproxyConfig = `global
    nbthread {{.Workers}}
    maxconn 7500
    {{- if .Tuned}}
    maxpipes 1000
    tune.pipesize 1048576
    {{- end}}
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    {{- if .Tuned}}
    option splice-request
    option splice-response
    {{- end}}
frontend pass
    bind {{.Pass}}
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    {{- range $name, $addr := .Services}}
    use_backend {{$name}} if { req.ssl_sni -i {{$name}}{{$.PassDomain}} }
    {{- end}}
frontend term
    bind {{.Term}} ssl crt {{.Both}} alpn {{.ALPN}} curves X25519
    {{- range $name, $addr := .Services}}
    use_backend {{$name}} if { ssl_fc_sni -i {{$name}}{{$.TermDomain}} }
    {{- end}}
{{- range $name, $addr := .Services}}
backend {{$name}}
    server one {{$addr}}
{{- end}}
`

const nginxConfig = `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
pid {{.Dir}}/pid;
worker_processes {{.Workers}};
events { worker_connections 16000; }
stream {
    {{- if .Tuned}}
    proxy_buffer_size 256k;
    {{- end}}
    proxy_timeout 10m;
    map $ssl_preread_server_name $pass {
        {{- range $name, $addr := .Services}}
        {{$name}}{{$.PassDomain}} {{$addr}};
        {{- end}}
    }
    map $ssl_server_name $term {
        {{- range $name, $addr := .Services}}
        {{$name}}{{$.TermDomain}} {{$addr}};
        {{- end}}
    }
    server { listen {{.Pass}}; ssl_preread on; proxy_pass $pass; }
    server {
        listen {{.Term}} ssl;
        proxy_pass $term;
        ssl_certificate {{.Cert}};
        ssl_certificate_key {{.Key}};
        ssl_protocols TLSv1.3;
        ssl_session_tickets off;
        ssl_session_cache off;
        ssl_ecdh_curve X25519;
        ssl_alpn {{.ALPN}};
    }
}
`
