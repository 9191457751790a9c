package lab

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// TestTheTeleportExampleRoutesItsNames reads docs/router-teleport.yaml as the router does, and asks it about every name of
// facts/tls-routing.md section 1.3.
func TestTheTeleportExampleRoutesItsNames(t *testing.T) {
	dir := t.TempDir()
	ca, err := certs.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(certs.Leaf{CommonName: "teleport", DNS: []string{"teleport.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := certs.WritePEM(dir, "teleport", cert); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../docs/router-teleport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "router.yaml")
	for name, data := range map[string][]byte{"router.yaml": example, "clients.pem": ca.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const proxy, kube, passed = "teleport.example.com", "kube-teleport-proxy-alpn.teleport.example.com", "what the backend does"
	type hello struct {
		sni, alpn, to, confirms string
	}
	rows := []hello{
		{kube, "http/1.1", "route kubernetes, passthrough, 127.0.0.1:3026", passed},
		{kube, "h2", "route kubernetes, passthrough, 127.0.0.1:3026", passed},
		{proxy, "http/1.1", "route web, passthrough, 127.0.0.1:3080", passed},
		{"app." + proxy, "h2", "route web, passthrough, 127.0.0.1:3080", passed},
		{proxy, "acme-tls/1", "route web, passthrough, 127.0.0.1:3080", passed},
		{proxy, "teleport-proxy-ssh", "route ssh, terminate, 127.0.0.1:3023", "teleport-proxy-ssh"},
		{"", "teleport-proxy-ssh-grpc", "route ssh-grpc, passthrough, 127.0.0.1:8081", passed},
		{"", "teleport-reversetunnel", "route reversetunnel, terminate, 127.0.0.1:3024", "teleport-reversetunnel"},
		{"", "teleport-reversetunnelv2", "route reversetunnel, terminate, 127.0.0.1:3024", "teleport-reversetunnelv2"},
		{"", "teleport-auth@63c6f6f74", "route auth, passthrough, 127.0.0.1:3025", passed},
		{"", "teleport-proxy-grpc", "route proxy-grpc, terminate, 127.0.0.1:8082", "teleport-proxy-grpc"},
		{"", "teleport-proxy-grpc-mtls", "route proxy-grpc-mtls, passthrough, 127.0.0.1:8083", passed},
		{"", "teleport-tcp-ping", "route tcp, terminate, 127.0.0.1:8080", "teleport-tcp-ping"},
		{"", "teleport-mysql-OC4wLjMy", "route mysql, terminate, 127.0.0.1:3306", "teleport-mysql-OC4wLjMy"},
		{"", "postgresql", "route postgres, terminate, 127.0.0.1:5432", "postgresql"},
		{"", "", "the router's own HTTP endpoint", "no ALPN"},
		{"nobody.test", "", "nobody: alert 112", "no ALPN"},
	}
	for name, port := range map[string]string{
		"postgres": "5432", "mysql": "3306", "mongodb": "27017", "oracle": "2484", "redis": "6379", "sqlserver": "1433", "snowflake": "443",
		"cassandra": "9042", "elasticsearch": "9200", "opensearch": "9200", "dynamodb": "8000", "clickhouse": "9440", "spanner": "9010",
	} {
		for _, alpn := range []string{"teleport-" + name, "teleport-" + name + "-ping"} {
			rows = append(rows, hello{proxy, alpn, "route " + name + ", terminate, 127.0.0.1:" + port, alpn})
		}
	}
	for _, row := range rows {
		var alpn []string
		if row.alpn != "" {
			alpn = []string{row.alpn}
		}
		got, err := Daemon{Config: file}.Explain(row.sni, alpn)
		if err != nil {
			t.Fatal(err)
		}
		if got.To != row.to || got.Confirms != row.confirms || got.Why == "" {
			t.Errorf("%q %q: %+v", row.sni, row.alpn, got)
		}
	}
}
