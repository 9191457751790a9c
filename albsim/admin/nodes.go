package admin

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// listenerNodes are the nodes of one of the document's listeners.
type listenerNodes struct {
	Listener int      `json:"listener"`
	Nodes    []string `json:"nodes"`
}

func nodes(s *albsim.Server) []listenerNodes {
	out := make([]listenerNodes, len(s.Config().Listeners))
	for i := range out {
		out[i].Listener = i
		for _, a := range s.Nodes(i) {
			out[i].Nodes = append(out[i].Nodes, a.String())
		}
	}
	return out
}

// rotate does one listener, or all that have nodes; the first that cannot ends it.
func rotate(w http.ResponseWriter, r *http.Request, s *albsim.Server) {
	var which []int
	listeners := s.Config().Listeners
	if one := r.URL.Query().Get("listener"); one != "" {
		i, err := strconv.Atoi(one)
		if err != nil || i < 0 || i >= len(listeners) {
			say(w, http.StatusBadRequest, strconv.Quote(one)+": the document has the listeners 0 to "+strconv.Itoa(len(listeners)-1))
			return
		}
		which = []int{i}
	} else {
		for i, l := range listeners {
			if len(l.Nodes) > 0 {
				which = append(which, i)
			}
		}
	}
	if which == nil {
		say(w, http.StatusConflict, "no listener has nodes; give one nodes, and nodes_in_service less than their number")
		return
	}
	for _, i := range which {
		if _, err := s.Rotate(r.Context(), i); err != nil {
			status := http.StatusServiceUnavailable // it is on its way out, or the address is taken
			if errors.Is(err, albsim.ErrNoSpareNode) {
				status = http.StatusConflict
			}
			say(w, status, err.Error())
			return
		}
	}
	show(w, nodes(s))
}
