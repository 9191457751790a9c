package peerrouter

import (
	"regexp"
	"syscall"
	"text/template"

	"github.com/tlsroute/tlsroute-bench/internal/product"
)

func init() {
	kinds.Register(kind{
		Product: product.Product{
			Name: "sslh", Package: "sslh", Binaries: []string{"sslh-ev", "sslh-select"},
			Config: template.Must(template.New("sslh").Parse(sslhConfig)),
			Argv:   func(program, _, config string) []string { return []string{program, "-F" + config} },
			Death:  syscall.SIGKILL, VersionArg: "-V", Version: regexp.MustCompile(`sslh\S* v?(\d\S*)`),
		},
		passes: true,
	})
}

// sslh-select, which is all that Debian 12 has, ends at 495 tunnels: select(2) knows 1,024 descriptors (facts/performance.md section 4.4). It also
// closes some connections that come while another ends (seen with 1.20: 3 of 127 new tunnels).
const sslhConfig = `foreground: true;
inetd: false;
numeric: true;
transparent: false;
timeout: 5;
listen: ( { host: "127.0.0.1"; port: "{{.PassPort}}"; } );
protocols: (
{{- range $i, $t := .Passed}}{{if $i}},{{end}}
    { name: "tls"; host: "{{.Host}}"; port: "{{.Port}}"; log_level: 0; sni_hostnames: [{{range $j, $n := .SNI}}{{if $j}}, {{end}}"{{$n}}"{{end}}]; }
{{- end}}
);
`

// PassPort is the port of Pass.
func (v view) PassPort() string { return port(v.Pass) }
