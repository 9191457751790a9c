package backendtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func httpContract(t *testing.T, r *backend.Running) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.Address+"/app/x?y=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen backend.Seen
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if seen.Backend != r.Info.Name || seen.Method != http.MethodPost || seen.Path != "/app/x?y=1" || seen.Host != r.Address || seen.Proto != "HTTP/1.1" ||
		seen.Header.Get("X-Forwarded-For") != "192.0.2.1" {
		t.Errorf("got %+v", seen)
	}
	// To a container it is the engine that comes.
	if from, err := netip.ParseAddrPort(seen.Remote); err != nil || from.Addr().IsLoopback() == (r.Info.Driver == backend.Container) {
		t.Errorf("it comes from %q, %v", seen.Remote, err)
	}
	if req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.Address+"/", bytes.NewReader(make([]byte, 1<<20+1))); err != nil {
		t.Fatal(err)
	}
	if resp, err = transport.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body beyond the bound: %s", resp.Status)
	}
}
