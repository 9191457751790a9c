package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const (
	unread   = 8 << 20 // WSF-06: more than the kernel takes for a client that does not read
	scramble = 200_000 // WSF-07: some dozen records in some hundred fragments
)

func init() {
	socketCheck(conformance.Check{
		ID: "WSF-06", Slug: "ping-pong", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A ping is answered with its own data: inside a message too, and when the client is slow to read",
		Why: "Clients and proxies take a missing pong for a dead connection. The pong that is missing is the one that stands behind a full buffer or " +
			"inside a long message, which is to say: under load, when reconnecting hurts most.",
		Clauses: clauses(rfc(6455, "5.5.2"), rfc(6455, "5.5.3"), rfc(6455, "5.4")),
		Accept:  pass("every pong came, with the data of its ping", conformance.Intact), Timeout: 30 * time.Second,
		Forbid: map[conformance.Outcome]string{conformance.Lost: "a ping was not answered", conformance.Corrupted: "a pong carries other data than its ping"},
		Run:    pingPong,
	})
	socketCheck(conformance.Check{
		ID: "WSF-07", Slug: "frag-interleave", Level: conformance.Must, Origin: conformance.RFC,
		Title: "Messages in any fragments, with control frames in between, carry the same bytes",
		Why: "Balancers and libraries cut messages as their buffers happen to be filled, and put pings where they like. A tunnel that takes a message for " +
			"a TLS record, or forgets a message over a ping, works until somebody sends a large one.",
		Clauses: clauses(rfc(6455, "5.4")), Accept: pass(whole, conformance.Intact), Timeout: 30 * time.Second,
		Forbid: map[conformance.Outcome]string{
			conformance.Lost: "fragments were lost", conformance.Corrupted: "the fragments were put together wrongly", conformance.Truncated: "the tunnel ended at a fragment",
			conformance.FIN: "the tunnel ended at a fragment", conformance.RST: "the tunnel ended at a fragment",
		},
		Run: scrambled,
	})
}

// inside is a session with route a in a WebSocket, its witness told what to do.
func inside(ctx context.Context, t *conformance.T, c *wire.WSClient, order witness.Order) (*tls.Conn, string, error) {
	cfg, err := t.Config("a")
	if err != nil {
		return nil, "", err
	}
	small(cfg)
	conn, err := t.TLS(ctx, c, cfg)
	if err != nil {
		return nil, "", fmt.Errorf("the handshake inside: %w", err)
	}
	order.Nonce = t.NewNonce()
	rec, err := t.Ask(conn, order)
	if err == nil && t.Expect(rec, witnessOf(t, "a")) != conformance.Routed {
		err = fmt.Errorf("witness %s answered", rec.Witness)
	}
	return conn, order.Nonce, err
}

// ponged waits for a pong. Data that comes meanwhile is lost.
func ponged(t *conformance.T, c *wire.WSClient, want string) error {
	within(t, c)
	for !slices.Contains(c.Pongs(), want) {
		if err := c.Next(); err != nil {
			return err
		}
	}
	return nil
}

// pongsFor is the positive control that pings with these data are answered, and the first part of WSF-06.
func pongsFor(data ...[]byte) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		c, err := socket(ctx, t)
		if err != nil {
			return err
		}
		defer c.Close()
		within(t, c)
		for i, d := range data { // one after the other: of two that wait only the later need be answered
			if err := c.Send(wire.Frame{Op: wire.OpPing, Payload: d}); err != nil {
				return err
			}
			err := ponged(t, c, string(d))
			if got := c.Pongs(); err != nil && len(got) > i {
				err = fmt.Errorf("%w (%q): %w", errOtherPong, got[i], err)
			}
			if err != nil {
				return fmt.Errorf("a ping of %d bytes: %w", len(d), err)
			}
		}
		return nil
	}
}

func pingPong(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	binary := make([]byte, 125)
	for i := range binary {
		binary[i] = byte(255 - i)
	}
	err := pongsFor(nil, []byte{0}, []byte("text"), binary)(ctx, t)
	if trouble, ok := errors.AsType[*harnessError](err); ok {
		return conformance.Observation{}, trouble
	}
	if err != nil {
		return pongMissing(err), nil
	}
	if o, err := pingInside(ctx, t); err != nil || o.Outcome != conformance.Intact {
		return o, err
	}
	return pingUnread(ctx, t)
}

// errOtherPong says that a pong came which is no answer to the ping.
var errOtherPong = errors.New("a pong came, with other data")

// pongMissing is lost, whichever way the wait for the pong ended, unless another one came.
func pongMissing(err error) conformance.Observation {
	if errors.Is(err, errOtherPong) {
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: err.Error()}
	}
	return conformance.Observation{Outcome: conformance.Lost, Detail: err.Error()}
}

// pingInside puts a ping between the fragments of the message that holds the ClientHello, and a second one when all is over: what has not
// come before its pong will not come.
func pingInside(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := socket(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer c.Close()
	middle, last := "middle "+t.Nonce, "last "+t.Nonce
	c.Shape = func(p []byte) [][]byte {
		c.Shape = nil // the first write only
		return [][]byte{wire.Joined(wire.Frame{Op: wire.OpBinary, Payload: p[:len(p)/2], More: true}, wire.Frame{Op: wire.OpPing, Payload: []byte(middle)},
			wire.Frame{Op: wire.OpContinuation, Payload: p[len(p)/2:]})}
	}
	if _, _, err := inside(ctx, t, c, witness.Order{}); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "a ping between the fragments of a message: " + err.Error()}, nil
	}
	within(t, c)
	if err := c.Send(wire.Frame{Op: wire.OpPing, Payload: []byte(last)}); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	if err := ponged(t, c, last); err != nil {
		return pongMissing(fmt.Errorf("a ping behind the session's first bytes: %w", err)), nil
	}
	if got := c.Pongs(); !slices.Equal(got, []string{middle, last}) {
		return conformance.Observation{Outcome: conformance.Lost, Detail: fmt.Sprintf("pongs %q for a ping inside a message and one behind it", got)}, nil
	}
	return conformance.Observation{Outcome: conformance.Intact}, nil
}

// pingUnread pings while the server has more to send than the client has read.
func pingUnread(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := socket(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer c.Close()
	conn, nonce, err := inside(ctx, t, c, witness.Order{Do: witness.Source, Bytes: unread})
	if err != nil {
		return conformance.Observation{}, err
	}
	select {
	case <-time.After(t.Silence()): // for the buffers to fill
	case <-ctx.Done():
	}
	start, want := time.Now(), "unread "+t.Nonce
	within(t, c)
	if err := c.Send(wire.Frame{Op: wire.OpPing, Payload: []byte(want)}); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	if o := received(t, conn, witness.Pattern(nonce), unread); o.Outcome != conformance.Intact {
		o.Detail = "reading on behind a ping: " + o.Detail
		return o, nil
	}
	if err := ponged(t, c, want); err != nil {
		return pongMissing(fmt.Errorf("a ping while %d bytes wait to be read: %w", unread, err)), nil
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("pings of 0 to 125 bytes, inside a message, and with %d MiB unread (%v)", unread>>20, time.Since(start).Round(time.Millisecond))}, nil
}

// scrambled echoes through fragments of random sizes. A message may begin in one write and end in another, and be empty.
func scrambled(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	c, err := socket(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer c.Close()
	rng := rand.New(rand.NewPCG(uint64(t.Seed), 7)) // repeatable on purpose
	open, frames := false, 0
	c.Shape = func(p []byte) [][]byte {
		var out []byte
		for len(p) > 0 {
			n := min(len(p), rng.IntN(1+rng.IntN(3000)))
			f := wire.Frame{Op: wire.OpBinary, Payload: p[:n], More: rng.IntN(4) > 0}
			if open {
				f.Op = wire.OpContinuation
			}
			p, open, frames = p[n:], f.More, frames+1
			out = append(out, f.Bytes()...)
			if rng.IntN(5) == 0 {
				out = append(out, wire.Frame{Op: []byte{wire.OpPing, wire.OpPong}[rng.IntN(2)], Payload: fmt.Append(nil, frames)}.Bytes()...)
			}
		}
		return [][]byte{out}
	}
	detail := func(o conformance.Observation) conformance.Observation {
		if strings.HasPrefix(string(o.Outcome), "ws-close:") {
			o.Outcome = conformance.Truncated
		}
		o.Detail = fmt.Sprintf("seed %d, %d fragments: %s", t.Seed, frames, o.Detail)
		return o
	}
	conn, nonce, err := inside(ctx, t, c, witness.Order{})
	if err != nil {
		return detail(conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}), nil
	}
	return detail(backAndForth(ctx, t, c, conn, nonce, scramble)), nil
}

// backAndForth echoes size bytes, ends the client's side, and compares what came back, and what arrived, with what was sent.
func backAndForth(ctx context.Context, t *conformance.T, c *wire.WSClient, conn *tls.Conn, nonce string, size int) conformance.Observation {
	data := patterned(nonce, size)
	within(t, conn)
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	o := received(t, conn, bytes.NewReader(data), int64(size))
	if o.Outcome != conformance.Intact {
		_ = c.Close() // lets the writer go
	}
	err := <-sent
	switch {
	case o.Outcome != conformance.Intact:
		return o
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "sending: " + err.Error()}
	}
	return arrived(ctx, t, "a", nonce, data)
}
