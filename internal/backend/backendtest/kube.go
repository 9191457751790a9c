package backendtest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// kubectl runs the real client against r with what ca issues to it.
func kubectl(t *testing.T, r *backend.Running, ca *certs.CA, env []string, stdin []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Fatalf("kubectl is missing: install the Debian package kubernetes-client: %v", err)
	}
	dir := t.TempDir()
	leaf, err := ca.Issue(certs.Leaf{CommonName: "tlsroute", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := certs.WritePEM(dir, "client", leaf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "kubectl", append([]string{
		"--kubeconfig", "/dev/null", "--cache-dir", dir, "--server", "https://" + r.Address, "--certificate-authority", r.Access.CA,
		"--client-certificate", cert, "--client-key", key, "--request-timeout", "60s",
	}, args...)...)
	cmd.Env = append(append(os.Environ(), "HOME="+dir), env...)
	var out, diag bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &diag
	err = cmd.Run()
	return out.String(), diag.String(), err
}

func kubeContract(t *testing.T, r *backend.Running) {
	a, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	out, says, err := kubectl(t, r, a.clients, nil, nil, "get", "pods", "--output", "name")
	if err != nil || out != "pod/web-0\npod/web-1\n" {
		t.Errorf("get pods: %q, %v: %s", out, err, says)
	}
	file := make([]byte, 1<<20)
	rand.Read(file)
	sum := sha256.Sum256(file)
	for name, env := range map[string][]string{"websocket": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true"}, "spdy": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false"}} {
		out, says, err := kubectl(t, r, a.clients, env, file, "exec", "--stdin", "web-0", "--", "sha256sum")
		if err != nil || out != hex.EncodeToString(sum[:])+"  -\n" {
			t.Errorf("exec over %s: %q, %v: %s", name, out, err, says)
		}
		_, says, err = kubectl(t, r, a.clients, env, nil, "exec", "web-0", "--", "no-such-program")
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 127 || !strings.Contains(says, "protocol server runs cat") {
			t.Errorf("a program that is not there, over %s: %v: %s", name, err, says)
		}
	}
	// Before its version 1.30 kubectl has no WebSocket; internal/lab speaks it by itself.
	out, says, err = kubectl(t, r, a.clients, nil, nil, "logs", "web-0")
	if err != nil || strings.Count(out, "sha256sum over ") != 2 || strings.Count(out, "no-such-program over ") != 2 || !strings.Contains(out, "over SPDY/3.1") {
		t.Errorf("logs: %q, %v: %s", out, err, says)
	}
	t.Log(out)
	if _, says, err := kubectl(t, r, a.servers, nil, nil, "get", "pods"); err == nil || !strings.Contains(says, "Unauthorized") && !strings.Contains(says, "must be logged in") {
		t.Errorf("a certificate of another authority: %v: %s", err, says)
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: a.servers.Pool()}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.Address+"/api/v1/namespaces/default/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var status backend.KubeStatus
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || resp.StatusCode != http.StatusUnauthorized || status.Kind != "Status" || status.Code != http.StatusUnauthorized {
		t.Errorf("without a certificate: %s, %+v, %v", resp.Status, status, err)
	}
}
