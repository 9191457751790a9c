// Package admin serves the simulator's admin port: what it is doing, and its targets.
//
//	/healthz   200 while the process lives
//	/readyz    200 while new connections are taken, 503 before Listen and while draining
//	/metrics   Prometheus text: CloudWatch's metrics of AWS/ApplicationELB under their own names, what is by target group with the
//	           label TargetGroup; then those of the Go runtime and the process
//	/config    the document in force, attributes filled in, and notes: a list of what is kept but for details that crypto/tls has
//	           not; it names key files and holds no keys
//	/targets   a list of {"group", "address", "state", "reason", "outstanding"}, as AWS's DescribeTargetHealth has them
//
//	/public-keys/{kid}   the PEM that verifies x-amzn-oidc-data, as AWS serves it at public-keys.auth.elb.REGION.amazonaws.com/KID
//
//	POST /targets/{group}/{address}/register     add the target host:port to a group
//	POST /targets/{group}/{address}/deregister   take it out, with the group's deregistration delay
//
// Both answer what /targets does, 404 for a group or target that is not there, and 400 for an address that is none.
//
//	POST /nodes/rotate              replace the oldest node of every listener that the document gives nodes
//	POST /nodes/rotate?listener=N   of the document's N-th listener alone, counted from 0
//
// This answers what /nodes does, 400 for a listener that is none, and 409 when there is no node to spare.
//
// There is no authentication: the port is for an address that only operators reach. Give [New] to albsim.Options.Admin:
//
//	albsim.New(config, albsim.Options{Admin: admin.New})
//
// It is a package of its own so that the simulator can be imported without the Prometheus client.
package admin

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// New is the handler of s's admin port.
func New(s *albsim.Server) http.Handler {
	registry := prometheus.NewRegistry() // never the global one: a process may run several simulators
	registry.MustRegister(collector{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

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
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) { show(w, document{s.Config(), s.Notes()}) })
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, _ *http.Request) { show(w, nodes(s)) })
	mux.HandleFunc("POST /nodes/rotate", func(w http.ResponseWriter, r *http.Request) { rotate(w, r, s) })
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, _ *http.Request) { show(w, targets(s)) })
	mux.HandleFunc("GET /public-keys/{kid}", func(w http.ResponseWriter, r *http.Request) {
		pem, ok := s.PublicKey(r.PathValue("kid"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(pem) // a reader who left is the only way this fails
	})
	for verb, change := range map[string]func(group, address string) error{"register": s.Register, "deregister": s.Deregister} {
		mux.HandleFunc("POST /targets/{group}/{address}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			err := change(r.PathValue("group"), r.PathValue("address"))
			if _, missing := errors.AsType[*albsim.NotThereError](err); missing {
				say(w, http.StatusNotFound, err.Error())
				return
			}
			if err != nil {
				say(w, http.StatusBadRequest, err.Error())
				return
			}
			show(w, targets(s))
		})
	}
	return mux
}

// document is what /config shows.
type document struct {
	albsim.Config
	Notes []string `json:"notes,omitempty"`
}

// targets is never null.
func targets(s *albsim.Server) []albsim.TargetState {
	return append([]albsim.TargetState{}, s.Targets()...)
}

func show(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// The status is out by now; a reader who left is the only way this fails.
	_ = encoder.Encode(value)
}

// say answers in a word; who has left does not hear it.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
