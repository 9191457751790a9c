package peerrouter

import (
	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product: product.HAProxy(haproxyConfig),
		passes:  true, terminates: true, tunes: true, alpn: true,
	})
}

// "splice-auto" never splices uploads; the other two do (facts/performance.md section 0, finding 5). HAProxy refuses to start when its
// pipes and twice maxconn exceed the limit of descriptors.
const haproxyConfig = `global
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
{{- if .Pass}}
frontend pass
    bind {{.Pass}}
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    {{- range .Passed}}
    use_backend {{.ID}} if { req.ssl_sni -i{{range .SNI}} {{.}}{{end}} }
    {{- end}}
{{- end}}
{{- if .Terminate}}
frontend term
    bind {{.Terminate}} ssl crt {{.Both}}{{with .ALPNList}} alpn {{.}}{{end}} curves X25519
    {{- range .Terminated}}
    use_backend {{.ID}} if { ssl_fc_sni -i{{range .SNI}} {{.}}{{end}} }
    {{- end}}
{{- end}}
{{- range .Passed}}
backend {{.ID}}
    server one {{.Backend}}
{{- end}}
{{- range .Terminated}}
backend {{.ID}}
    server one {{.Backend}}
{{- end}}
`
