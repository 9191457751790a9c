package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client/proxy"
)

// kubeTopology is every way to what stands for the API server. Its TLS is its own: the client's certificate is for it, not for the router.
const kubeTopology = `
name: kube
topology:
  paths: [direct, alb-https, alb-http, nlb-tcp]
  load_balancers:
    alb: {}
    nlb: {protocol: TCP}
backends: [{name: kube, kind: kube}]
routes: [{name: kube, sni: [kube.example.test], alpn: [h2, http/1.1], mode: passthrough, backend: kube}]
`

// TestKubeOverEveryPath holds what kubectl does to what it is without anything in between, behind the local port of "proxy kube": one topology,
// every path, every case.
func TestKubeOverEveryPath(t *testing.T) {
	l := startText(t, kubeTopology, Options{Backends: os.Getenv(driverVariable)})
	wires, _, err := l.Walk(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wires {
		if w.SNI != nil && *w.SNI == "kube.example.test" && !w.ClientCert {
			t.Errorf("path %s, hop %s: the walk saw no client certificate", w.Path, w.Hop)
		}
	}
	t.Run("paths", func(t *testing.T) { // returns when those that run side by side have
		for _, path := range []string{scenario.PathDirect, scenario.PathALBHTTPS, scenario.PathALBHTTP, scenario.PathNLBTCP} {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				k := kubeProxy(t, l, path, true)
				k.namespace = path
				t.Run("no certificate", func(t *testing.T) { kubeStranger(t, kubeProxy(t, l, path, false)) })
				t.Run("watch", func(t *testing.T) { kubeWatch(t, k) })
				t.Run("log", func(t *testing.T) { kubeLog(t, k) })
				t.Run("exec", func(t *testing.T) {
					for _, over := range []kubeUpgrade{{"websocket", execV5}, {"websocket", execV4}, {"spdy", execV4}} {
						t.Run(over.String(), func(t *testing.T) { kubeExec(t, k, over) })
					}
				})
				t.Run("kubectl", func(t *testing.T) { kubectlOver(t, k) })
			})
		}
	})
}

// kubePort is the local port of a proxy, and a namespace that no other test uses.
type kubePort struct {
	addr, namespace string
	http            *http.Client
}

// kubeProxy is what "proxy kube" is, with or without the client's certificate.
func kubeProxy(t *testing.T, l *Lab, path string, certificate bool) *kubePort {
	t.Helper()
	d, err := l.Dialer(path, "kube")
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Certificates) == 0 {
		t.Error("the lab gives no client certificate to who dials the API")
	}
	if !certificate {
		d.Certificates = nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &proxy.Server{Kind: proxy.Kube, Dialer: d, Say: func(line string) { t.Logf("proxy: %s", line) }}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("local proxy: %v", err)
		}
	})
	return &kubePort{addr: listener.Addr().String(), namespace: "default", http: &http.Client{Transport: transport}}
}

// ask sends one request; its answer ends with the test.
func (k *kubePort) ask(t *testing.T, method, path, body string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://"+k.addr+"/api/v1/namespaces/"+k.namespace+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := k.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// pod makes one.
func (k *kubePort) pod(t *testing.T, name string) {
	t.Helper()
	if resp := k.ask(t, http.MethodPost, "/pods", fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q}}`, name)); resp.StatusCode != http.StatusCreated {
		t.Fatalf("make pod %s: %s", name, resp.Status)
	}
}

// kubeStranger is let through by the router, which asks for nothing, and told by the API that it wants a certificate.
func kubeStranger(t *testing.T, k *kubePort) {
	var status backend.KubeStatus
	resp := k.ask(t, http.MethodGet, "/pods", "")
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || resp.StatusCode != http.StatusUnauthorized || status.Reason != "Unauthorized" {
		t.Errorf("%s, %+v, %v", resp.Status, status, err)
	}
}

// kubeWatch makes each change when the event of the one before has arrived: nobody on the way may keep one back.
func kubeWatch(t *testing.T, k *kubePort) {
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.NewDecoder(k.ask(t, http.MethodGet, "/pods", "").Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	events := json.NewDecoder(k.ask(t, http.MethodGet, "/pods?watch=true&resourceVersion="+list.Metadata.ResourceVersion, "").Body)
	see := func(change, name string) {
		t.Helper()
		var event struct {
			Type   string
			Object struct {
				Metadata struct{ Name, Namespace string }
			}
		}
		if err := events.Decode(&event); err != nil || event.Type != change || event.Object.Metadata.Name != name || event.Object.Metadata.Namespace != k.namespace {
			t.Fatalf("%+v, %v, want %s %s", event, err, change, name)
		}
	}
	for i := range 3 {
		name := fmt.Sprintf("watched-%d", i)
		k.pod(t, name)
		see("ADDED", name)
		if resp := k.ask(t, http.MethodDelete, "/pods/"+name, ""); resp.StatusCode != http.StatusOK {
			t.Fatalf("delete: %s", resp.Status)
		}
		see("DELETED", name)
	}
}

// kubeLog follows a log, which has a line more for every command.
func kubeLog(t *testing.T, k *kubePort) {
	k.pod(t, "logged")
	lines := bufio.NewReader(k.ask(t, http.MethodGet, "/pods/logged/log?follow=true", "").Body)
	for _, word := range []string{"one", "two", "three"} {
		if got := k.exec(t, kubeUpgrade{"spdy", execV4}, "logged", nil, "echo", word); got.stdout != word+"\n" {
			t.Fatalf("%+v", got)
		}
		if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "echo "+word+" over ") {
			t.Fatalf("the log says %q, %v", line, err)
		}
	}
	k.ask(t, http.MethodDelete, "/pods/logged", "")
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("behind the pod's end: %q, %v", rest, err)
	}
}

// kubeExec runs what has an answer, what fails, and what has a stream in and out.
func kubeExec(t *testing.T, k *kubePort, over kubeUpgrade) {
	pod := strings.NewReplacer("/", "-", ".", "-").Replace(over.String())
	k.pod(t, pod)
	if got := k.exec(t, over, pod, nil, "echo", "two  words", "*"); got.stdout != "two  words *\n" || got.status.Status != "Success" {
		t.Errorf("echo: %+v", got)
	}
	got := k.exec(t, over, pod, nil, "no-such-program")
	if got.status.Reason != "NonZeroExitCode" || got.status.Details == nil || got.status.Details.Causes[0] != (backend.KubeCause{Reason: "ExitCode", Message: "127"}) || got.stderr == "" || got.stdout != "" {
		t.Errorf("a program that is not there: %+v", got)
	}
	if over.protocol == execV4 && over.upgrade == "websocket" {
		return // nobody can end stdin there
	}
	in := make([]byte, 1<<20)
	if _, err := io.ReadFull(backend.SeededBytes(7), in); err != nil {
		t.Fatal(err)
	}
	if got := k.exec(t, over, pod, in, "cat"); got.stdout != string(in) || got.status.Status != "Success" {
		t.Errorf("cat gave %d bytes back of %d, or others: %+v", len(got.stdout), len(in), got.status)
	}
}

// kubectlOver has the real client do the same.
func kubectlOver(t *testing.T, k *kubePort) {
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Fatalf("kubectl is missing: install the Debian package kubernetes-client: %v", err)
	}
	dir := t.TempDir()
	addr, err := net.ResolveTCPAddr("tcp", k.addr)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(config, proxy.Kubeconfig(addr), 0o600); err != nil {
		t.Fatal(err)
	}
	k.pod(t, "kubectl")
	in := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	var side sync.WaitGroup
	for _, websockets := range []string{"true", "false"} {
		side.Go(func() {
			cmd := exec.CommandContext(t.Context(), "kubectl", "--kubeconfig", config, "--cache-dir", dir, "-n", k.namespace, "exec", "-i", "kubectl", "--", "cat")
			cmd.Env = append(os.Environ(), "HOME="+dir, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+websockets)
			var out, diag bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &diag
			if err := cmd.Run(); err != nil || !bytes.Equal(out.Bytes(), in) {
				t.Errorf("with WebSockets %s: %d bytes of %d, %v: %s", websockets, out.Len(), len(in), err, cmp.Or(diag.String(), "no word"))
			}
		})
	}
	side.Wait()
}
