package selftest

import (
	"context"
	"errors"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/lab/ours"
)

// reloading is the naive router with a launcher, for checks that need no more of it than another client authentication.
func reloading(b bugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		n := newLab(t).naive(t, b)
		target := n.target(n.ln.Addr().String(), false)
		target.Launcher = naiveLauncher{t, n}
		return target
	}
}

type naiveLauncher struct {
	t    *testing.T
	like *naive
}

func (l naiveLauncher) Document() door.Router { return must(ours.Document(l.like.config()))(l.t) }

func (l naiveLauncher) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	i := naiveInstance{l.like.naive(l.t, l.like.bugs)}
	return i, i.Reload(ctx, doc)
}

// naiveInstance is ended by the test's cleanup.
type naiveInstance struct{ *naive }

func (i naiveInstance) Address() string { return i.ln.Addr().String() }
func (naiveInstance) Admin() string     { return "" }
func (naiveInstance) PID() int          { return 0 }

func (i naiveInstance) Reload(_ context.Context, doc door.Router) error {
	auth := map[string]door.ClientAuth{}
	for _, r := range doc.Routes {
		auth[r.Name] = r.ClientAuth
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.auth == nil || !i.keepsPolicy {
		i.auth = auth
	}
	return nil
}

func (naiveInstance) Drain(context.Context) error          { return errors.ErrUnsupported }
func (naiveInstance) Logs(context.Context) (string, error) { return "", nil }
func (naiveInstance) Stop(context.Context) error           { return nil }

// demands says whether a route asks for a certificate, and the file of the authority.
func (n *naive) demands(route conformance.FixtureRoute) (file string, demanded bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if auth, ok := n.auth[route.Name]; ok {
		return auth.CA, auth.Mode == "require"
	}
	return n.files[route.CA], route.ClientAuth == "require"
}

func init() {
	right = append(right, conforming{
		name: "naive router that reloads", role: conformance.Router, only: []string{"MTL-01", "MTL-04"}, tolerated: true,
		target: reloading(bugs{tls2: tls2{tickets: true}}),
	})
	addMutant("MTL-04", "asks for a certificate in full handshakes only", reloading(bugs{tls2: tls2{tickets: true, authOnce: true}}))
	addMutant("MTL-04", "says that it has reloaded", reloading(bugs{tls2: tls2{tickets: true, keepsPolicy: true}}))
}
