package conformance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// This file is for checks that go through a route of the fixture, and for what the witness behind it says.

// Config is the TLS configuration for a route of the fixture: its name, its first ALPN name unless others are given, and its
// client certificate.
func (t *T) Config(route string, alpn ...string) (*tls.Config, error) {
	r, sni, ok := t.Target.Fixture.route(route)
	if !ok {
		return nil, fmt.Errorf("the fixture has no route %q", route)
	}
	if len(alpn) == 0 && len(r.ALPN) > 0 {
		alpn = r.ALPN[:1]
	}
	cfg := &tls.Config{ServerName: sni, NextProtos: alpn, MinVersion: tls.VersionTLS12, RootCAs: t.Target.InnerRoots, KeyLogWriter: &t.keylog}
	if r.ClientAuth == "require" {
		cert := t.Target.Fixture.ClientA
		if r.CA == "B" {
			cert = t.Target.Fixture.ClientB
		}
		if cert == nil {
			return nil, &NotRunError{Reason: fmt.Sprintf("there is no client certificate for route %q", route)}
		}
		Present(cfg, cert)
	}
	return cfg, nil
}

// Present makes a client send cert whatever authorities the server names: the choice is the server's to refuse, not crypto/tls's
// to leave out.
func Present(cfg *tls.Config, cert *tls.Certificate) {
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
}

// Open is Stream and TLS to a route of the fixture.
func (t *T) Open(ctx context.Context, route string, alpn ...string) (*tls.Conn, error) {
	cfg, err := t.Config(route, alpn...)
	if err != nil {
		return nil, err
	}
	stream, err := t.Stream(ctx)
	if err != nil {
		return nil, err
	}
	return t.TLS(ctx, stream, cfg)
}

// NewNonce is a nonce that begins with the run's own.
func (t *T) NewNonce() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.orders++
	return fmt.Sprintf("%s-%d", t.Nonce, t.orders)
}

// Ask writes the order and reads the witness's record, not a byte more. An order without a nonce gets one, an order without a
// verb is an echo.
func (t *T) Ask(conn net.Conn, o witness.Order) (witness.Record, error) {
	if o.Nonce == "" {
		o.Nonce = t.NewNonce()
	}
	if o.Do == "" {
		o.Do = witness.Echo
	}
	restore := t.deadline(context.Background(), conn)
	defer restore()
	return witness.Ask(conn, o)
}

// Record waits for a witness's own record of a nonce, finished or not.
func (t *T) Record(ctx context.Context, name, nonce string, finished bool) (witness.Record, error) {
	w, ok := t.Target.Witnesses[name]
	if !ok {
		return witness.Record{}, fmt.Errorf("the target has no witness %q", name)
	}
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		for _, rec := range w.Find(nonce) {
			if rec.Finished || !finished {
				return rec, nil
			}
		}
		select {
		case <-ctx.Done():
			return witness.Record{}, fmt.Errorf("waiting for witness %s to record %s: %w", name, nonce, ctx.Err())
		case <-tick.C:
		}
	}
}

// Expect says whether a record is from the witness that should have answered.
func (t *T) Expect(rec witness.Record, name string) Outcome {
	if rec.Witness == name {
		return Routed
	}
	return Misrouted
}

// Accepted is how many connections the witnesses have accepted, all together: for "no backend was dialled". The first call waits
// until the checks beside this one have nothing under way that could be counted (see [gate]), and until what those before it have
// set off is over: a router may dial for a client that is gone already.
func (t *T) Accepted() int64 {
	if t.place != nil {
		t.place.quiet(gateWait)
	}
	t.mu.Lock()
	first := !t.count.any
	t.mu.Unlock()
	n := t.accepted()
	if first {
		n = t.settled(n)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.see(n)
	return n
}

// AtRest says that this run has nobody dialled any more: it waits, or works on what it has open. Those that count what the witnesses
// accept, and those that wait for a place beside others, do not wait for it from then on. A count that it disturbs all the same is taken
// again alone.
func (t *T) AtRest() {
	if t.place != nil {
		t.place.leave()
	}
}

func (t *T) accepted() (sum int64) {
	for _, w := range t.Target.Witnesses {
		sum += w.Accepted()
	}
	return sum
}

// settled waits until the count has stood still for settleFor, at most Wait, and returns it.
func (t *T) settled(n int64) int64 {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	since := time.Now()
	for end := since.Add(t.Wait()); time.Since(since) < settleFor && time.Now().Before(end); {
		<-tick.C
		if now := t.accepted(); now != n {
			n, since = now, time.Now()
		}
	}
	return n
}
