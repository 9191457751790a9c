package product

import (
	"regexp"
	"syscall"
	"text/template"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// NginxStream is nginx's module for TCP and TLS, where Debian puts it.
var NginxStream = process.MissingError{Program: "/usr/lib/nginx/modules/ngx_stream_module.so", Package: "libnginx-mod-stream"}

// HAProxy is HAProxy with a configuration, a template.
func HAProxy(config string) Product {
	return Product{
		Name: "haproxy", Package: "haproxy", Binaries: []string{"haproxy"},
		Config: template.Must(template.New("haproxy").Parse(config)),
		Argv:   func(program, _, config string) []string { return []string{program, "-db", "-f", config} },
		Death:  syscall.SIGKILL, VersionArg: "-v", Version: regexp.MustCompile(`HAProxy version (\S+)`),
	}
}

// Nginx is nginx with a configuration, a template.
func Nginx(config string) Product {
	return Product{
		Name: "nginx", Package: "nginx", Binaries: []string{"nginx"},
		Config: template.Must(template.New("nginx").Parse(config)),
		Argv: func(program, dir, config string) []string {
			return []string{program, "-p", dir, "-c", config, "-e", "stderr"}
		},
		// By SIGTERM the master ends its workers too, at once.
		Death: syscall.SIGTERM, VersionArg: "-v", Version: regexp.MustCompile(`nginx/(\S+)`),
	}
}
