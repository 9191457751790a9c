package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

type tlsConn = tls.Conn

// Outcomes of how a tunnel ends.
const (
	clean conformance.Outcome = "clean-end" // an abort was shown as a regular end
	late  conformance.Outcome = "late"      // shown, but after more than abortWithin
)

const (
	abortWithin = time.Second // TUN-06, as the catalogue has it
	backAfter   = 1 << 20     // bytes the other way after a half-close
)

func init() {
	tun := func(c conformance.Check) {
		c.Role, c.Transports, c.Control = conformance.Router, everywhere, opens("a")
		c.Features = append([]string{"terminate"}, c.Features...)
		conformance.Register(c)
	}
	half := map[conformance.Outcome]string{
		conformance.Lost:      "the other direction was closed with the first",
		conformance.Truncated: "the other direction was cut off when the first ended",
		conformance.RST:       "the other direction was reset when the first ended",
		conformance.Corrupted: "the bytes are not those that were sent",
		conformance.Timeout:   "the end of one direction was not passed on",
	}
	unended := maps.Clone(half)
	unended[conformance.FIN] = "the backend's end was passed on without close_notify, which TLS itself calls an abort"
	tun(conformance.Check{
		ID: "TUN-04", Slug: "half-close-c2s", Level: conformance.Must, Origin: conformance.Policy,
		Title: "When the client ends its side, the backend sees it and its answer still comes back",
		Why: "Protocols that send until the end of the stream and wait for the result (git, rsync, psql's COPY over a pipe, any shell pipeline) " +
			"depend on half-close. A tunnel that closes both sides loses the answer; one that passes nothing on hangs.",
		Clauses: clauses(rfc(9293, "3.6"), rfc(9846, "6.1"), policy("section 8, half-close crosses as half-close")),
		Accept:  allOfIt, Forbid: half, Run: halfCloseUp,
	})
	tun(conformance.Check{
		ID: "TUN-05", Slug: "half-close-s2c", Level: conformance.Must, Origin: conformance.Policy,
		Title: "When the backend ends its side, the client sees it and what it still sends arrives",
		Why: "A backend that has said all it has to say may still be listening: uploads with an early answer, log streams. A tunnel that takes " +
			"the backend's end for the end of everything throws away what the client is sending, and the client is not told.",
		Clauses: clauses(rfc(9293, "3.6"), rfc(9846, "6.1"), policy("section 8, half-close crosses as half-close")),
		Accept:  pass(whole, conformance.Intact), Forbid: unended,
		Run: halfCloseDown,
	})
	tun(conformance.Check{
		ID: "TUN-06", Slug: "rst", Level: conformance.Should, Origin: conformance.RFC,
		Title: "A reset on one side is an abort on the other within a second, never a regular end",
		Why: "To the application a regular end means: this is all. When a crash on one side is shown as that on the other, half a file " +
			"is taken for the whole, and half a transaction for a short one.",
		Clauses: clauses(rfc(9293, "3.5"), rfc(9846, "6.1")),
		Accept: slices.Concat(pass("the reset is passed on", conformance.RST),
			tolerate("TLS ends without close_notify, which TLS itself calls an abort", conformance.Truncated)),
		Forbid: map[conformance.Outcome]string{
			clean: "the abort was shown as a regular end", late: "the abort was shown too late", conformance.Timeout: "the other side was not told",
		},
		Run: resets,
	})
	tun(conformance.Check{
		ID: "TUN-07", Slug: "truncation", Level: conformance.Must, Origin: conformance.Policy,
		Title: "An end of the client's stream without close_notify is not a regular end for the backend",
		Why: "Anybody on the way can send a FIN; only the client can send close_notify. A router that ends TLS and passes a bare FIN on as the " +
			"end of the data lets a stranger cut a request short unnoticed: the attack that close_notify is there to prevent.",
		Clauses: clauses(rfc(9846, "6.1"), policy("section 8, a TLS side that ends without close_notify is an abort")),
		Accept:  pass("the backend sees an abort", conformance.RST), Run: truncates,
		Forbid: map[conformance.Outcome]string{clean: "the truncated stream was passed on as a complete one", conformance.Timeout: "the backend was not told"},
	})
	tun(conformance.Check{
		ID: "TUN-13", Slug: "dial-failure", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.Policy,
		Title: "When the backend cannot be reached the client is told in time",
		Why: "A backend that is down is an everyday event. Clients fail over within seconds when the connection ends, and hang until their own " +
			"timeout, often none at all, when it does not.",
		Clauses: clauses(policy("section 5, routes[].backend"), rfc(9110, "15.6")),
		Accept: slices.Concat(pass("ended as an abort", conformance.RST, conformance.Truncated, conformance.Alert(80)),
			tolerate("ended in another way", conformance.FIN, conformance.Alert(40), conformance.Alert(120), conformance.Alert(112))),
		Forbid: map[conformance.Outcome]string{
			served: "another backend answered in its place", conformance.Timeout: "the client was left hanging", conformance.Dialled: "another backend was dialled in its place",
		},
		Run: deadBackend,
	})
}

func halfCloseUp(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	return onRoutes(t, func(route string) (conformance.Observation, error) {
		conn, nonce, err := ordered(ctx, t, route, witness.Order{Do: witness.AfterEOF, Bytes: backAfter})
		if err != nil {
			return conformance.Observation{}, err
		}
		defer conn.Close()
		data := patterned("up"+nonce, 100_000)
		within(t, conn)
		if _, err := conn.Write(data); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: "sending: " + err.Error()}, nil
		}
		if err := endSide(t, conn); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: "ending: " + err.Error()}, nil
		}
		o := received(t, conn, witness.Pattern(nonce), backAfter)
		return alsoArrived(o, func() conformance.Observation { return arrived(ctx, t, route, nonce, data) }), nil
	})
}

// endSide sends close_notify, and a FIN behind it where the session runs on TCP: a router that passes TLS through sees the FIN only.
// A WebSocket below stays open, for it cannot be half-closed.
func endSide(t *conformance.T, conn *tlsConn) error {
	if err := wire.CloseWrite(conn); err != nil || t.Transport != conformance.Direct {
		return err
	}
	return wire.CloseWrite(conn.NetConn())
}

func halfCloseDown(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	return onRoutes(t, func(route string) (conformance.Observation, error) {
		conn, nonce, err := ordered(ctx, t, route, witness.Order{Do: witness.HalfClose})
		if err != nil {
			return conformance.Observation{}, err
		}
		defer conn.Close()
		within(t, conn)
		if o := received(t, conn, bytes.NewReader(nil), 0); o.Outcome != conformance.Intact {
			o.Detail = "the backend's end: " + o.Detail
			return o, nil
		}
		data := patterned(nonce, backAfter)
		within(t, conn)
		for rest := data; len(rest) > 0; {
			n := min(64<<10, len(rest))
			if _, err := conn.Write(rest[:n]); err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("sending after the backend's end, %d bytes left: %v", len(rest), err)}, nil
			}
			rest = rest[n:]
		}
		if err := wire.CloseWrite(conn); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: "ending: " + err.Error()}, nil
		}
		return arrived(ctx, t, route, nonce, data), nil
	})
}

// onRoutes does the same on the terminated route and, where there is one, on the passed-through one; the first outcome that is not
// Intact counts.
func onRoutes(t *conformance.T, do func(route string) (conformance.Observation, error)) (conformance.Observation, error) {
	routes := []string{"a"}
	if has(t, "passthrough") {
		routes = append(routes, "pass")
	}
	all := conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("routes %v", routes)}
	for _, route := range routes {
		o, err := do(route)
		o.Detail = "route " + route + ": " + o.Detail
		switch {
		case err == nil && o.Outcome == conformance.FIN:
			all = o // every byte came, but for the end: on to the next
		case err != nil || o.Outcome != conformance.Intact:
			return o, err
		}
	}
	return all, nil
}

// resets resets the client's end and looks at the backend's, then the other way round.
func resets(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up, err := resetUp(ctx, t)
	if err != nil {
		return up, err
	}
	down, err := resetDown(ctx, t)
	if err != nil {
		return down, err
	}
	both := worst(t, []conformance.Observation{up, down})
	both.Detail = up.Detail + "; " + down.Detail
	return both, nil
}

func resetUp(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, nonce, err := ordered(ctx, t, "a", witness.Order{Do: witness.Echo})
	if err != nil {
		return conformance.Observation{}, err
	}
	if err := roundTrip(t, conn); err != nil {
		return conformance.Observation{}, err
	}
	start := time.Now()
	if err := wire.Reset(conn); err != nil {
		return conformance.Observation{}, fmt.Errorf("resetting the client's end: %w", err)
	}
	o := endAtWitness(ctx, t, nonce, start)
	o.Detail = "reset by the client: " + o.Detail
	return o, nil
}

// roundTrip makes sure that nothing is under way.
func roundTrip(t *conformance.T, conn *tlsConn) error {
	within(t, conn)
	msg := []byte("are you there")
	if _, err := conn.Write(msg); err != nil {
		return fmt.Errorf("a round trip: %w", err)
	}
	if _, err := io.ReadFull(conn, msg); err != nil {
		return fmt.Errorf("a round trip: %w", err)
	}
	return nil
}

// endAtWitness says how the witness of route a saw the client's side end.
func endAtWitness(ctx context.Context, t *conformance.T, nonce string, start time.Time) conformance.Observation {
	rec, err := t.Record(ctx, witnessOf(t, "a"), nonce, true)
	took := time.Since(start)
	if err != nil {
		return conformance.Observation{Outcome: conformance.Timeout, Detail: "the backend was not told: " + err.Error()}
	}
	o := conformance.Observation{Outcome: conformance.Outcome(rec.End), Detail: fmt.Sprintf("the backend saw %q after %v", rec.End, took.Round(time.Millisecond))}
	switch rec.End {
	case "eof":
		o.Outcome = clean
	case "reset":
		o.Outcome = conformance.RST
	case "truncated":
		o.Outcome = conformance.Truncated
	}
	if took > abortWithin+t.Silence() {
		o.Outcome = late
	}
	return o
}

func resetDown(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, _, err := ordered(ctx, t, "a", witness.Order{Do: witness.Reset, Bytes: 1})
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	start := time.Now()
	within(t, conn)
	if _, err := conn.Write([]byte{1}); err != nil { // the record is here: a reset can overtake it no more
		return conformance.Observation{}, fmt.Errorf("telling the backend to reset: %w", err)
	}
	n, err := conn.Read(make([]byte, 1))
	took := time.Since(start)
	o := conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("reset by the backend: the client saw %v after %v", err, took.Round(time.Millisecond))}
	switch {
	case n > 0:
		o.Outcome = conformance.Corrupted
	case o.Outcome == conformance.FIN && conformance.CloseNotify(conn):
		o.Outcome = clean
	case o.Outcome == conformance.FIN:
		o.Outcome = conformance.Truncated
	case o.Outcome != conformance.Timeout && took > abortWithin+t.Silence():
		o.Outcome = late
	}
	return o, nil
}

// truncates ends the stream below the inner TLS without close_notify: FIN on a TCP connection, a close frame in a WebSocket.
func truncates(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	cfg, err := t.Config("a")
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := t.TLS(ctx, stream, cfg)
	if err != nil {
		return conformance.Observation{}, err
	}
	nonce := t.NewNonce()
	if _, err := t.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Echo}); err != nil {
		return conformance.Observation{}, err
	}
	if err := roundTrip(t, conn); err != nil {
		return conformance.Observation{}, err
	}
	start := time.Now()
	within(t, stream)
	if err := wire.CloseWrite(stream); err != nil {
		return conformance.Observation{}, fmt.Errorf("ending the stream below TLS: %w", err)
	}
	return endAtWitness(ctx, t, nonce, start), nil
}

func deadBackend(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	cfg, err := t.Config("dead")
	if err != nil {
		return conformance.Observation{}, err
	}
	start := time.Now()
	o := reach(ctx, t, cfg, "")
	o.Detail = fmt.Sprintf("after %v: %s", time.Since(start).Round(time.Millisecond), o.Detail)
	return undialled(ctx, t, before, o), nil
}
