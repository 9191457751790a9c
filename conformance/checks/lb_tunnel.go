package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of what becomes of a tunnel's beginning and its end.
const (
	buffered     conformance.Outcome = "buffered"
	notCarried   conformance.Outcome = "not-carried"
	earlyLost    conformance.Outcome = "early-bytes-lost"
	halfOpen     conformance.Outcome = "half-open"
	bothClosed   conformance.Outcome = "both-closed"
	endSwallowed conformance.Outcome = "end-swallowed"
)

func init() {
	balancer(conformance.Check{
		ID: "ALB-UPG-07", Slug: "alb-inner-tls", Level: conformance.Info,
		Title: "Name, ALPN and client certificate of an inner session are not those of the outer one",
		Why: "Two handshakes with two names stand in one connection. Whatever looks into the tunnel and ends the inner session, as an inspecting " +
			"firewall does, replaces the certificate by which the router knows its client.",
		Clauses: clauses(fact("ALB-UPG-07", "I", "AWS, Application Load Balancers: listeners, WebSockets", listenersPage)),
		Accept:  pass("each end saw the certificate, the name and the protocol that the other sent", conformance.Intact), Run: innerApart,
		Forbid: map[conformance.Outcome]string{
			conformance.Corrupted: "an end saw another name, protocol or certificate than was sent", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer",
		},
	})
	unknownBehaviour := func(row, knob string) string { return "what an ALB does is not known (" + row + "): " + knob }
	balancer(conformance.Check{
		ID: "ALB-UPG-14", Slug: "alb-early-bytes", Level: conformance.Info,
		Title: "What becomes of bytes that the client sends behind its upgrade request, before the 101",
		Why: "A client could save a round trip by sending its inner handshake at once. Nothing says that a balancer keeps those bytes, so that a " +
			"client must not; whichever way it is, bytes must not vanish and later ones arrive.",
		Clauses: clauses(fact("ALB-UPG-14", "unknown", "AWS, How Elastic Load Balancing works", howPage)),
		Accept: append(pass("they are the first of the tunnel", buffered),
			tolerate(unknownBehaviour("ALB-UPG-14", "taken for another request, or refused"), notCarried)...),
		Run:    earlyBytes,
		Forbid: map[conformance.Outcome]string{earlyLost: "later bytes arrived, and the early ones did not", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"},
	})
	balancer(conformance.Check{
		ID: "ALB-UPG-15", Slug: "alb-half-close", Level: conformance.Info,
		Title: "What the end of the client's direction does to a tunnel",
		Why: "Protocols that end their request by closing their direction, and then read the answer, work only where the other direction stays " +
			"open. Nothing says that it does behind an ALB; but an end that never arrives leaves the target waiting for ever.",
		Clauses: clauses(fact("ALB-UPG-15", "unknown", "AWS, Application Load Balancers: listeners, WebSockets", listenersPage)),
		Accept: append(pass("the target reads the end, and its answer still arrives", halfOpen),
			tolerate(unknownBehaviour("ALB-UPG-15", "both directions end"), bothClosed)...),
		Run:    halfCloses,
		Forbid: map[conformance.Outcome]string{endSwallowed: "the end did not reach the target", dropped: "the upgrade did not arrive", alone: "the upgrade was refused by the balancer"},
	})
}

// innerApart has an outer handshake with a protocol of its own, and an inner one that shares nothing with it.
func innerApart(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	mine, err := selfSigned()
	if err != nil {
		return conformance.Observation{}, err
	}
	theirs, _, err := serverIdentity(t.Name("inner"))
	if err != nil {
		return conformance.Observation{}, err
	}
	c, err := through101(ctx, t, wire.ALPN)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	return innerSession(ctx, t, c, mine, theirs), nil
}

func earlyBytes(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	earlyPart, laterPart := "early-"+t.NewNonce()+".", "later-"+t.NewNonce()+"."
	c, err := switches(ctx, t, asks(t, wire.ALPN)+earlyPart, wire.ALPN)
	if own, ok := errors.AsType[*errAlone](err); ok && own.resp.Status != 101 {
		return saw(notCarried, "%v", err), nil
	}
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	if err := bounded(t, c.client, []byte(laterPart)); err != nil {
		return saw(notCarried, "writing behind the 101: %v", err), nil
	}
	within(t, c.target)
	got := make([]byte, len(earlyPart)+len(laterPart))
	n, err := io.ReadAtLeast(c.target, got, len(laterPart))
	if string(got[:n]) == laterPart {
		return saw(earlyLost, "the target read %q", got[:n]), nil
	}
	if err == nil && n < len(got) {
		var more int
		more, err = io.ReadFull(c.target, got[n:])
		n += more
	}
	if err != nil {
		return saw(notCarried, "the target read %q, and then %v", got[:n], err), nil
	}
	if string(got) != earlyPart+laterPart {
		return saw(conformance.Corrupted, "the target read %q", got), nil
	}
	return saw(buffered, "%d early bytes, and the later ones behind them", len(earlyPart)), nil
}

func halfCloses(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := through101(ctx, t, wire.ALPN)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	if o := exchangeBytes(t, c.client, c.target, []byte(t.NewNonce())); o.Outcome != conformance.Intact {
		return o, nil
	}
	start := time.Now()
	if err := wire.CloseWrite(c.client); err != nil {
		return conformance.Observation{}, fmt.Errorf("ending the client's direction: %w", err)
	}
	_ = c.target.SetReadDeadline(start.Add(beforeIdle(t)))
	_, err = c.target.Read(make([]byte, 1))
	if how := t.Outcome(err); how == conformance.Timeout {
		return saw(endSwallowed, "the target has read no end after %v", time.Since(start).Round(time.Millisecond)), nil
	} else if how != conformance.FIN {
		return saw(bothClosed, "the target read %v", err), nil
	}
	answer := t.NewNonce()
	if err := bounded(t, c.target, []byte(answer)); err != nil {
		return saw(bothClosed, "the target read the end, and cannot write: %v", err), nil
	}
	within(t, c.client)
	got := make([]byte, len(answer))
	n, err := io.ReadFull(c.client, got)
	switch {
	case err != nil && t.Outcome(err) == conformance.Timeout:
		return conformance.Observation{Outcome: conformance.Timeout, Detail: "the target read the end, its answer did not arrive"}, nil
	case err != nil:
		return saw(bothClosed, "the client read %d bytes, and then %v", n, err), nil
	case string(got) != answer:
		return saw(conformance.Corrupted, "the client read %q", got), nil
	}
	return saw(halfOpen, "the target read the end, and its answer arrived"), nil
}

// beforeIdle is how long to wait for an end that is not that of the idle timeout.
func beforeIdle(t *conformance.T) time.Duration {
	if idle := t.Path.IdleTimeout; idle > 0 {
		return min(t.Wait(), max(idle/2, t.Silence()))
	}
	return t.Wait()
}
