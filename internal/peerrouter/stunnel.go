package peerrouter

import (
	"net"
	"regexp"
	"syscall"
	"text/template"

	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product: product.Product{
			Name: "stunnel", Package: "stunnel4", Binaries: []string{"stunnel4", "stunnel"},
			Config: template.Must(template.New("stunnel").Parse(stunnelConfig)),
			Argv:   func(program, _, config string) []string { return []string{program, config} },
			Death:  syscall.SIGKILL, VersionArg: "-version", Version: regexp.MustCompile(`stunnel (\d\S*)`),
		},
		terminates: true, tunes: true,
	})
}

// The first service takes the connections, the others theirs by name. It has no word for ALPN, so none is confirmed.
const stunnelConfig = `foreground = yes
pid =
syslog = no
debug = err
{{- if .Tuned}}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
{{- end}}
{{- range $i, $t := .Terminated}}
{{- if not $i}}
[front]
accept = {{$.Terminate}}
connect = {{.Backend}}
cert = {{$.Cert}}
key = {{$.Key}}
sslVersionMin = TLSv1.3
options = NO_TICKET
curves = X25519
libwrap = no
{{- end}}
{{- range $j, $name := .SNI}}
[{{$t.ID}}-{{$j}}]
sni = front:{{$name}}
connect = {{$t.Backend}}
cert = {{$.Cert}}
key = {{$.Key}}
sslVersionMin = TLSv1.3
options = NO_TICKET
curves = X25519
libwrap = no
{{- end}}
{{- end}}
`

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
