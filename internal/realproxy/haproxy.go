package realproxy

import (
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product:   product.HAProxy(haproxyConfig),
		protocols: []string{"HTTPS", "TLS", "TCP"}, acceptsProxy: true, sendsSNI: true, sendProxy: []string{"v1", "v2"}, resolves: true,
	})
}

// HAProxy 2.6 has no sni-auto (facts/alb.md section 12.5), so the name is written out; h2 behind it could not carry an upgrade.
// Without maxconn HAProxy takes what the limit of descriptors allows. init-addr lets it lead somewhere before the first answer of the name server. "hold obsolete" is for how long an address that
// the answer no longer has is kept.
const haproxyConfig = `global
    nbthread 2
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode {{if eq .Protocol "HTTPS"}}http{{else}}tcp{{end}}
    timeout connect 10s
    timeout client {{.Seconds}}s
    timeout server {{.Seconds}}s
    timeout tunnel {{.Seconds}}s
    {{- if eq .Protocol "HTTPS"}}
    timeout http-request 10s
    option forwardfor
    {{- end}}
{{- if .Next.Resolver}}
resolvers lab
    nameserver stub {{.Next.Resolver}}
    resolve_retries 3
    timeout resolve 200ms
    timeout retry 200ms
    hold valid 200ms
    hold obsolete 200ms
{{- end}}
frontend front
    bind {{.Address}}{{if .AcceptProxy}} accept-proxy{{end}}{{if ne .Protocol "TCP"}} ssl crt {{.Both}}{{end}}{{if eq .Protocol "HTTPS"}} alpn h2,http/1.1{{end}}
    {{- range $i, $app := .Apps}}
    use_backend app{{$i}} if { path_beg {{$app.Prefix}} }
    {{- end}}
    default_backend next
{{- if .Redirect}}
frontend redirect
    bind {{.Redirect}}
    http-request redirect scheme https code 301
{{- end}}
backend next
    {{- if .Next.Resolver}}
    server-template node {{.Next.Nodes}} {{.Next.Name}}:{{.NextPort}} resolvers lab init-addr {{.NextHost}}
    {{- else}}
    server next {{.Next.Address}}
    {{- end}}
    {{- if .Next.TLS}} ssl verify none sni str({{.Next.Name}}){{if eq .Protocol "HTTPS"}} alpn http/1.1{{end}}{{end}}
    {{- if .SendProxy}} {{if eq .SendProxy "v2"}}send-proxy-v2{{else}}send-proxy{{end}}{{end}}
{{- range $i, $app := .Apps}}
backend app{{$i}}
    server app {{$app.Address}}
{{- end}}
`
