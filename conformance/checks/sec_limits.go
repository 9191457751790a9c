package checks

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// limits fills the places of one address, then all of them.
func limits(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	if err := manyAddresses(t); err != nil {
		return conformance.Observation{}, err
	}
	var held []net.Conn
	from := func(source string) conformance.Observation {
		c, err := dialFrom(ctx, t, source)
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
		}
		cfg, err := t.Config("a")
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
		}
		conn, err := t.TLS(ctx, c, cfg)
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
		}
		o, _ := t.Served(ctx, conn, witnessOf(t, "a"))
		held = append(held, conn)
		return o
	}
	// A place that was given back may be counted as free a moment later.
	soon := func(source string) (o conformance.Observation) {
		for until := time.Now().Add(t.Wait()); time.Now().Before(until); pause(ctx, 5*time.Millisecond) {
			if o = from(source); o.Outcome == conformance.Routed {
				break
			}
		}
		return o
	}
	for _, step := range []struct {
		source string
		n      int
		what   string
	}{{"127.0.0.1", perIP, "an address"}, {"127.0.0.2", inAll - perIP, "all"}} {
		for i := range step.n {
			if o := soon(step.source); o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("connection %d from %s, below the limit of %s: %s", i+1, step.source, step.what, o.Detail)
				o.Outcome = stuck
				return o, nil
			}
		}
		o := from(step.source)
		detail := fmt.Sprintf("one more than the limit of %s: %s %s", step.what, o.Outcome, o.Detail)
		switch {
		case o.Outcome == conformance.Routed:
			return conformance.Observation{Outcome: uncapped, Detail: detail}, nil
		case !isRefusal(o.Outcome):
			return conformance.Observation{Outcome: o.Outcome, Detail: detail}, nil
		}
	}
	last := held[len(held)-1]
	held = held[:len(held)-1]
	_ = last.Close()
	if o := soon("127.0.0.2"); o.Outcome != conformance.Routed {
		return conformance.Observation{Outcome: stuck, Detail: fmt.Sprintf("a connection ended, and none was served in its place: %s %s", o.Outcome, o.Detail)}, nil
	}
	return conformance.Observation{Outcome: capped, Detail: fmt.Sprintf("%d from one address and %d in all were served, one more was closed each time, and a place that was given back was free", perIP, inAll)}, nil
}

// manyAddresses says whether there is more than one address to come from.
func manyAddresses(t *conformance.T) error {
	host, _, err := net.SplitHostPort(t.Path.Address)
	if ip := net.ParseIP(host); err != nil || ip.To4() == nil || !ip.IsLoopback() {
		return &conformance.NotRunError{Reason: "the target is not on 127.0.0.0/8: there is only one address to come from"}
	}
	return nil
}

// dialFrom is TCP from another address of loopback.
func dialFrom(ctx context.Context, t *conformance.T, source string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: t.Wait()}
	c, err := d.DialContext(ctx, "tcp", t.Path.Address)
	if err != nil {
		return nil, err
	}
	return t.Adopt(ctx, c, "tcp")
}
