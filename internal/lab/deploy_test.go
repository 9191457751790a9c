package lab

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// TestTheSampleDocumentIsValid reads refimpl/router/deploy/router.yaml as the router does.
func TestTheSampleDocumentIsValid(t *testing.T) {
	dir := t.TempDir()
	cert, err := certs.SelfSigned(certs.Leaf{CommonName: "router.example.test", DNS: []string{"router.example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := certs.WritePEM(dir, "web", cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(key, filepath.Join(dir, "web.key")); err != nil {
		t.Fatal(err)
	}
	sample, err := os.ReadFile("../../refimpl/router/deploy/router.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "router.yaml")
	if err := os.WriteFile(file, sample, 0o644); err != nil {
		t.Fatal(err)
	}
	for sni, want := range map[string]string{
		"app.example.test": "route app, passthrough, 127.0.0.1:9443", "router.example.test": "the router's own HTTP endpoint",
	} {
		if e, err := (Daemon{Config: file}).Explain(sni, nil); err != nil || e.To != want {
			t.Errorf("%s leads to %q, %v; want %q", sni, e.To, err, want)
		}
	}
}
