package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	attributes := awsDocs + "application/edit-load-balancer-attributes.html"
	waits(conformance.Check{
		ID: "ALB-IDLE-02", Slug: "alb-idle-reset", Level: conformance.Must,
		Title: "Any byte in either direction starts the idle timeout again",
		Why: "Keep-alive pings in one direction are what holds a tunnel behind a balancer open. They do so only where a byte in that direction " +
			"counts.",
		Clauses: clauses(fact("ALB-IDLE-02", "D", "AWS, Application Load Balancers: connection idle timeout", attributes)),
		Accept:  pass("the tunnel still carries bytes", alive), Run: idleResets,
		Forbid: map[conformance.Outcome]string{cut: "a tunnel was cut though bytes flowed"},
	})
	waits(conformance.Check{
		ID: "ALB-IDLE-05", Slug: "alb-idle-cut", Level: conformance.Should,
		Title: "A silent tunnel is cut at the idle timeout, and the target sees an end of file",
		Why: "Who looks for the cause of dropped connections needs to know what the balancer's cut looks like: a regular end at the very second, " +
			"which a target mistakes for a client that has gone.",
		Clauses: clauses(fact("ALB-IDLE-01, ALB-IDLE-05", "D", "AWS, Application Load Balancers: connection idle timeout", attributes)),
		Accept:  pass("cut within a tenth of the declared time, with an end of file at the target", cutOn), Run: idleCut,
		Forbid: map[conformance.Outcome]string{
			cutEarly: "cut before it was due", cutLate: "cut after it was due", stays: "not cut at all", conformance.RST: "a reset, where an end of file is seen behind the real one",
		},
	})
}

// waits registers a check of a load balancer that sits out the idle timeout.
func waits(c conformance.Check) {
	c.Tags = []string{conformance.NeedsIdle, "timing"}
	c.Timeout = 5 * longestIdle
	balancer(c)
}

// idleResets holds two tunnels open, each with bytes in one direction only, for one idle timeout and a half.
func idleResets(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	tunnels := map[string]*tunnelled{}
	names := []string{"from the client", "from the target"}
	for _, name := range names { // one after the other: the stub takes connections in the order they come
		c, err := through101(ctx, t, wire.ALPN)
		if err != nil {
			return unlessAlone(err)
		}
		defer c.close()
		tunnels[name] = c
	}
	return inParallel(t, names, func(name string) (conformance.Observation, error) {
		from, to := tunnels[name].client, tunnels[name].target
		if name == "from the target" {
			from, to = to, from
		}
		lasted, err := every(ctx, timeout/steps, steps*3/2, func(step int) error { return oneByte(t, from, to, byte(step)) })
		if errors.Is(err, conformance.ErrStalled) {
			return conformance.Observation{}, err
		}
		if err != nil {
			return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("%v after %v", err, lasted.Round(10*time.Millisecond))}, nil
		}
		return conformance.Observation{Outcome: alive, Detail: fmt.Sprintf("%v at an idle timeout of %v", lasted.Round(10*time.Millisecond), timeout)}, nil
	})
}

func oneByte(t *conformance.T, from, to net.Conn, b byte) error {
	if err := bounded(t, from, []byte{b}); err != nil {
		return err
	}
	within(t, to)
	got := make([]byte, 1)
	if _, err := io.ReadFull(to, got); err != nil {
		return err
	}
	if got[0] != b {
		return fmt.Errorf("%#02x came, %#02x was sent", got[0], b)
	}
	return nil
}

func idleCut(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	c, err := through101(ctx, t, wire.WebSocket)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	before := time.Now()
	if err := oneByte(t, c.client, c.target, 1); err != nil {
		return conformance.Observation{}, fmt.Errorf("a byte through the tunnel: %w", err)
	}
	how := conformance.FIN
	o, err := endsOnTime(t, "the target", before, timeout, func(until time.Time) error {
		_ = c.target.SetReadDeadline(until)
		_, err := c.target.Read(make([]byte, 1))
		how = t.Outcome(err)
		return err
	})
	if how == conformance.RST {
		o.Outcome, err = how, nil
	}
	return o, err
}
