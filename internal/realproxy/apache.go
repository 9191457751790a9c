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
			Name: "apache", Package: "apache2", Binaries: []string{"apache2"},
			Config: template.Must(template.New("apache").Parse(apacheConfig)),
			Argv: func(program, dir, config string) []string {
				return []string{program, "-d", dir, "-f", config, "-DFOREGROUND"}
			},
			// By SIGTERM the parent ends its children too, at once.
			Death: syscall.SIGTERM, VersionArg: "-v", Version: regexp.MustCompile(`Apache/(\S+)`),
		},
		protocols: []string{"HTTPS"}, acceptsProxy: true,
	})
}

// mod_proxy_http lets upgrades through since 2.4.47, where the worker says upgrade=ANY. The name of the TLS extension is the Host field
// with ProxyPreserveHost and else the worker's, which is an address here: the next hop gets none.
const apacheConfig = `ServerName {{.Name}}
DefaultRuntimeDir {{.Home}}
PidFile {{.Home}}/pid
ErrorLog {{.Home}}/error.log
LogLevel warn
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
# A tunnel keeps its thread.
StartServers 1
ServerLimit 4
ThreadsPerChild 250
ThreadLimit 250
MaxRequestWorkers 1000
Timeout {{.Seconds}}
KeepAliveTimeout {{.Seconds}}
SSLSessionCache none
Listen {{.Address}}
<VirtualHost {{.Address}}>
    SSLEngine on
    SSLCertificateFile {{.Cert}}
    SSLCertificateKeyFile {{.Key}}
    {{- if .AcceptProxy}}
    RemoteIPProxyProtocol On
    {{- end}}
    SSLProxyEngine on
    SSLProxyVerify none
    SSLProxyCheckPeerCN off
    SSLProxyCheckPeerName off
    SSLProxyCheckPeerExpire off
    ProxyTimeout {{.Seconds}}
    {{- range .Apps}}
    ProxyPass {{.Prefix}} http://{{.Address}}{{.Prefix}}
    {{- end}}
    ProxyPass / {{if .Next.TLS}}https{{else}}http{{end}}://{{.Next.Address}}/ upgrade=ANY
</VirtualHost>
{{- if .Redirect}}
Listen {{.Redirect}}
<VirtualHost {{.Redirect}}>
    RewriteEngine On
    RewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L,NE]
</VirtualHost>
{{- end}}
`
