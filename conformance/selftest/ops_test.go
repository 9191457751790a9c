package selftest

import (
	"context"
	"net"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// otherwise is the reference router whose instances do something in another way.
func otherwise(change func(conformance.Launcher, conformance.Instance) conformance.Instance) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		target.Launcher = changed{target.Launcher, change}
		return target
	}
}

type changed struct {
	conformance.Launcher
	change func(conformance.Launcher, conformance.Instance) conformance.Instance
}

func (c changed) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	i, err := c.Launcher.Launch(ctx, doc)
	if err != nil {
		return nil, err
	}
	return c.change(c.Launcher, i), nil
}

// cutter drains by stopping.
type cutter struct{ conformance.Instance }

func (c cutter) Drain(ctx context.Context) error { return c.Stop(ctx) }

// idler has no drain and no reload, and says that it has.
type idler struct{ conformance.Instance }

func (idler) Drain(context.Context) error               { return nil }
func (idler) Reload(context.Context, door.Router) error { return nil }

// restarter reloads by starting anew on the same port.
type restarter struct {
	conformance.Instance
	from conformance.Launcher
}

func (r *restarter) Reload(ctx context.Context, doc door.Router) error {
	doc.Listen = r.Address()
	if bad := doc.Certificates[0].Cert == "/nonexistent/cert.pem"; bad {
		return r.Instance.Reload(ctx, doc)
	}
	if err := r.Stop(ctx); err != nil {
		return err
	}
	doc.Admin = "127.0.0.1:0"
	i, err := r.from.Launch(ctx, doc)
	if err == nil {
		r.Instance = i
	}
	return err
}

// credulous takes every document.
type credulous struct{ conformance.Instance }

func (c credulous) Reload(ctx context.Context, doc door.Router) error {
	_ = c.Instance.Reload(ctx, doc)
	return nil
}

func init() {
	addMutant("OPS-01", "cuts its tunnels", otherwise(func(_ conformance.Launcher, i conformance.Instance) conformance.Instance { return cutter{i} }))
	addMutant("OPS-01", "goes on accepting", otherwise(func(_ conformance.Launcher, i conformance.Instance) conformance.Instance { return idler{i} }))
	addMutant("OPS-01", "never ends them", mutatedConfig(func(_ *lab, c *router.Config) { c.Drain.Timeout = router.Duration(60e9) }))
	addMutant("OPS-02", "starts anew", otherwise(func(l conformance.Launcher, i conformance.Instance) conformance.Instance { return &restarter{i, l} }))
	addMutant("OPS-02", "takes any document", otherwise(func(_ conformance.Launcher, i conformance.Instance) conformance.Instance { return credulous{i} }))
	addMutant("OPS-03", "starts anew", otherwise(func(l conformance.Launcher, i conformance.Instance) conformance.Instance { return &restarter{i, l} }))
	addMutant("OPS-04", "dials at once", func(t *testing.T) conformance.Target {
		l := newLab(t)
		target := l.start(t, nil)
		backend := l.witnesses[l.fixture.WitnessA].Address
		target.Launcher = frontedInstances{target.Launcher, t, func(dst, src net.Conn) {
			if c, err := net.Dial("tcp", backend); err == nil {
				defer c.Close()
			}
			copyWith(nil, dst, src)
		}}
		return target
	})
}
