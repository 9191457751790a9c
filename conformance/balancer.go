package conformance

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// BalancerLauncher starts instances of a load balancer under test beside the one that its paths lead to. A target that cannot be started
// has none, and checks that need other targets or certificates than the stub's are NOT-RUN.
type BalancerLauncher interface {
	// Document is what the one under test was started with; its Listen picks a port.
	Document() door.Balancer
	// Launch starts one, and says where it listens and how it is stopped. An *[UnsupportedError] says that the target cannot be set up so.
	Launch(ctx context.Context, doc door.Balancer) (address string, stop func(context.Context) error, err error)
}

// AdaptedBalancer starts instances of a load balancer through its adapter. It is a [BalancerLauncher].
type AdaptedBalancer struct {
	Adapter door.Adapter
	// Base is the document that checks change.
	Base door.Balancer
	// Dir is where each instance gets a directory of its own.
	Dir string
}

// Document is the base.
func (a AdaptedBalancer) Document() door.Balancer { return a.Base.Copy() }

// Launch starts one.
func (a AdaptedBalancer) Launch(ctx context.Context, doc door.Balancer) (string, func(context.Context) error, error) {
	i, err := Start(ctx, a.Adapter, a.Dir, doc)
	if err != nil {
		return "", nil, err
	}
	return i.Address(), i.Stop, nil
}

// Relaunch starts another instance of the load balancer under test, its document changed, and puts what follows in the check to that one:
// Path is the instance's from here on. The instance is stopped when the check is over. A field of the document that asks for a feature is
// only for a check that asks for it too: the target has then claimed it.
func (t *T) Relaunch(ctx context.Context, change func(doc *door.Balancer)) error {
	if !t.Check.Relaunches {
		return fmt.Errorf("check %s does not say that it relaunches", t.Check.ID)
	}
	launcher := t.Target.Balancers
	if launcher == nil {
		return &NotRunError{"the target is one that cannot be started with another configuration"}
	}
	doc := launcher.Document()
	change(&doc)
	for _, feature := range doc.Needs() {
		if !slices.Contains(t.Check.Features, feature) {
			return fmt.Errorf("a document with a field of feature %s, for which %s does not ask", feature, t.Check.ID)
		}
	}
	starting, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	address, stop, err := launcher.Launch(starting, doc)
	if err != nil {
		return fmt.Errorf("starting an instance: %w", err)
	}
	p := *t.Path
	p.Address = address
	t.Path = &p
	return t.keep(ctx, stopper{stop: stop})
}

// stopper lets an instance be kept among the connections; only Close is ever called on it.
type stopper struct {
	net.Conn
	stop func(context.Context) error
}

func (s stopper) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), launchTime) // what was started is stopped, whatever becomes of the run
	defer cancel()
	return s.stop(ctx)
}
