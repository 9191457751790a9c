// Package admin serves the router's admin port: what it is doing and whether it should be sent connections.
//
//	/healthz   200 while the process lives
//	/readyz    200 while new connections are taken, 503 before Listen and while draining
//	/metrics   Prometheus text; deploy/README.md has the names, all below tlsroute_router_
//	/config    {"generation": n, "config": {…}}: the document in force, defaults filled in; it names key files and holds no keys
//
// There is no authentication: the port is for an address that only operators reach. Give [New] to router.Options.Admin:
//
//	router.New(config, router.Options{Admin: admin.New})
//
// It is a package of its own so that the router can be imported without the Prometheus client.
package admin

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// New is the handler of s's admin port.
func New(s *router.Server) http.Handler {
	registry := prometheus.NewRegistry() // never the global one: a process may run several routers
	registry.MustRegister(newCollector(s), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.Ready() {
			say(w, http.StatusServiceUnavailable, "draining or not listening")
			return
		}
		say(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}))
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		config, generation := s.Config()
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		// The status is out by now; a reader who left is the only way this fails.
		_ = encoder.Encode(document{generation, config})
	})
	return mux
}

type document struct {
	Generation int           `json:"generation"`
	Config     router.Config `json:"config"`
}

// say answers in a word; who has left does not hear it.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
