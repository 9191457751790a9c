package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() { Register(Driver{Kind: Kube, Name: Embedded, Start: startKube}) }

const kubeNote = "protocol server: stands for the API server of Kubernetes: TLS with client certificates, version and discovery, pods that are only names (get, list, watch, " +
	"create, delete), their logs (the commands that were run in them), and exec of cat, sha256sum, true and echo over WebSocket (v4 and v5.channel.k8s.io) " +
	"and SPDY/3.1. It does not do: containers, terminals, attach, port-forward, other resources, selectors, tables, patches, access rules"

func startKube(ctx context.Context, spec Spec, r *Running) error {
	r.Info = result.Backend{Name: spec.Name, Kind: Kube, Driver: Embedded, Product: "tlsroute-bench kube", Version: "1", Note: kubeNote}
	clients := x509.NewCertPool()
	if len(spec.Certificate.Certificate) == 0 || !clients.AppendCertsFromPEM(spec.ClientCA) {
		return errors.New("it speaks TLS and lets in who has a client certificate: give Spec.Certificate and Spec.ClientCA")
	}
	if len(spec.CA) > 0 {
		dir, err := os.MkdirTemp(spec.Dir, "tlsroute-bench-kube-")
		if err != nil {
			return fmt.Errorf("make private directory: %w", err)
		}
		r.OnClose(func(context.Context) error { return os.RemoveAll(dir) })
		r.Access.CA = filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(r.Access.CA, spec.CA, 0o644); err != nil {
			return fmt.Errorf("write the authority: %w", err)
		}
	}
	api := &kubeAPI{clients: clients, pods: newPodStore("default/web-0", "default/web-1")}
	config := &tls.Config{
		Certificates: []tls.Certificate{spec.Certificate}, MinVersion: tls.VersionTLS12,
		// Asked for here and judged by the API, so that who has none is told so in its words.
		ClientAuth: tls.RequestClientCert, ClientCAs: clients,
	}
	if err := serveHTTP(spec, r, api, config); err != nil {
		return err
	}
	return probeKube(ctx, r.Address)
}

// kubeAPI answers as the API server of Kubernetes does, as far as kubectl and its like ask.
type kubeAPI struct {
	clients *x509.CertPool
	pods    *podStore
}

func (k *kubeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !k.letsIn(r.TLS) {
		kubeFail(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
		return
	}
	if answer, ok := kubeDiscovery[r.URL.Path]; ok && r.Method == http.MethodGet {
		kubeAnswer(w, http.StatusOK, answer)
		return
	}
	// api v1 namespaces NAMESPACE pods [NAME [SUBRESOURCE]]; api v1 pods are those of all namespaces
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.URL.Path == "/api/v1/pods" {
		parts = []string{"api", "v1", "namespaces", "", "pods"}
	}
	if len(parts) < 5 || len(parts) > 7 || strings.Join(parts[:3], "/") != "api/v1/namespaces" || parts[4] != "pods" {
		kubeFail(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
		return
	}
	namespace, route := parts[3], r.Method+" "+strings.Repeat("/*", len(parts)-5)
	if len(parts) == 7 {
		route = r.Method + " /*/" + parts[6]
	}
	switch route {
	case "GET ":
		if r.FormValue("watch") == "true" || r.FormValue("watch") == "1" {
			k.watch(w, r, namespace)
		} else {
			k.list(w, namespace)
		}
	case "POST ":
		k.create(w, r, namespace)
	case "GET /*":
		k.get(w, namespace, parts[5])
	case "DELETE /*":
		k.remove(w, namespace, parts[5])
	case "GET /*/log":
		k.log(w, r, namespace, parts[5])
	case "GET /*/exec", "POST /*/exec":
		k.exec(w, r, namespace, parts[5])
	default:
		kubeFail(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "the server does not allow this method on the requested resource")
	}
}

// letsIn verifies the certificate of a connection.
func (k *kubeAPI) letsIn(state *tls.ConnectionState) bool {
	if len(state.PeerCertificates) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: k.clients, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// kubeDiscovery is what a client asks before it asks for anything.
var kubeDiscovery = map[string]any{
	"/version": map[string]string{"major": "1", "minor": "30", "gitVersion": "v1.30.0-tlsroute-bench", "platform": "none"},
	"/api":     map[string]any{"kind": "APIVersions", "versions": []string{"v1"}},
	"/apis":    map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []string{}},
	"/api/v1": map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{
		map[string]any{"name": "pods", "singularName": "pod", "shortNames": []string{"po"}, "namespaced": true, "kind": "Pod", "verbs": []string{"create", "delete", "get", "list", "watch"}},
		map[string]any{"name": "pods/exec", "singularName": "", "namespaced": true, "kind": "PodExecOptions", "verbs": []string{"create", "get"}},
		map[string]any{"name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": []string{"get"}},
	}},
}

// KubeStatus is the Status of the API, as far as it is used here.
type KubeStatus struct {
	Kind       string       `json:"kind,omitempty"`
	APIVersion string       `json:"apiVersion,omitempty"`
	Metadata   struct{}     `json:"metadata"`
	Status     string       `json:"status"`
	Message    string       `json:"message,omitempty"`
	Reason     string       `json:"reason,omitempty"`
	Details    *KubeDetails `json:"details,omitempty"`
	Code       int          `json:"code,omitempty"`
}

// KubeDetails are its details.
type KubeDetails struct {
	Causes []KubeCause `json:"causes"`
}

// KubeCause is one of them; of a command that failed, the exit status.
type KubeCause struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func kubeFail(w http.ResponseWriter, code int, reason, message string) {
	kubeAnswer(w, code, KubeStatus{Kind: "Status", APIVersion: "v1", Status: "Failure", Message: message, Reason: reason, Code: code})
}

func kubeAnswer(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // who has left gets no answer
}

// probeKube comes without a certificate, since the key of one is the client's, and is refused in the API's words.
func probeKube(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/version", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it was given the certificate a moment ago
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask it: %w", err)
	}
	defer resp.Body.Close()
	var status KubeStatus
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&status); err != nil || resp.StatusCode != http.StatusUnauthorized || status.Reason != "Unauthorized" {
		return fmt.Errorf("it answers %s to somebody without a certificate: %w", resp.Status, err)
	}
	return nil
}
