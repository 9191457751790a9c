package bench

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// negotiated is what the innermost TLS sessions of an arm's measured tunnels came to, and whether that is what was asked for.
type negotiated struct {
	want TLSShape

	mu       sync.Mutex // guards what follows
	primed   bool       // a ticket is there: from now on a session that is to be resumed must be
	sessions int64
	resumed  int64
	versions []string
	curves   []string
}

// see judges a tunnel that was just dialled.
func (n *negotiated) see(conn net.Conn) error {
	shown, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		if n.want != (TLSShape{}) {
			return fmt.Errorf("the path shows no TLS session, and one with %+v was asked for", n.want)
		}
		return nil
	}
	state := shown.ConnectionState()
	if want := Curves[n.want.Curve]; want != 0 && state.CurveID != want {
		return fmt.Errorf("the session agreed on %v, not on %s", state.CurveID, n.want.Curve)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.want.Resume && !n.primed {
		return nil // it fetches the ticket
	}
	if n.want.Resume && !state.DidResume {
		return fmt.Errorf("the session was not resumed: the server took a full handshake (%s)", tls.VersionName(state.Version))
	}
	n.sessions++
	if state.DidResume {
		n.resumed++
	}
	n.versions = union(n.versions, tls.VersionName(state.Version))
	if state.CurveID != 0 {
		n.curves = union(n.curves, curveName(state.CurveID))
	}
	return nil
}

// curveName is the name that scenarios use, where they have one.
func curveName(id tls.CurveID) string {
	for name, c := range Curves {
		if c == id {
			return name
		}
	}
	return id.String()
}

// prime says that a ticket is there.
func (n *negotiated) prime() {
	n.mu.Lock()
	n.primed = true
	n.mu.Unlock()
}

// union adds s to the list, once.
func union(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// tlsWords is result.Arm.TLS, over all routes of an arm; nil where there was no TLS to be seen.
func tlsWords(routes []*negotiated) map[string]string {
	var all negotiated
	for _, n := range routes {
		n.mu.Lock()
		all.sessions, all.resumed, all.want = all.sessions+n.sessions, all.resumed+n.resumed, n.want
		for _, v := range n.versions {
			all.versions = union(all.versions, v)
		}
		for _, c := range n.curves {
			all.curves = union(all.curves, c)
		}
		n.mu.Unlock()
	}
	if all.sessions == 0 {
		return nil
	}
	out := map[string]string{"version": strings.Join(all.versions, ", "), "curve": strings.Join(all.curves, ", "), "resumed": "no"}
	switch {
	case all.resumed == all.sessions:
		out["resumed"] = "yes"
	case all.resumed > 0:
		out["resumed"] = fmt.Sprintf("%d of %d", all.resumed, all.sessions)
	}
	if all.want.Mutual {
		out["client_certificate"] = "required"
	}
	return out
}
