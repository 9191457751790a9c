package checks

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// drippedBytes are those of a frame that come one by one: a header and what the payload begins with.
const drippedBytes = 64

func init() {
	socketCheck(conformance.Check{
		ID: "WSF-08", Slug: "chop", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A frame may be cut by the network at every byte of its header and payload",
		Why: "A frame's header has up to fourteen bytes and a segment ends where it likes. A reader that expects the header in one piece loses its place once in " +
			"some thousand frames, and what it then takes for a length is anything.",
		Clauses: clauses(rfc(6455, "5.2"), result.Clause{Doc: "Autobahn Testsuite, option chopsize", URL: "https://github.com/crossbario/autobahn-testsuite"}),
		Accept:  pass("every byte comes back, wherever the frames were cut", conformance.Intact), Timeout: 30 * time.Second,
		Forbid: map[conformance.Outcome]string{
			conformance.Timeout: "the rest of a frame was not waited for, or the whole of it not seen", conformance.Corrupted: "a part of a frame was taken for the whole",
			conformance.FIN: "a part of a frame was taken for a wrong one", conformance.RST: "a part of a frame was taken for a wrong one",
			conformance.Lost: "a ping that came in two parts was not answered",
		},
		Run: chopped,
	})
}

// lengths is the positive control of WSF-05: frames at the edges of the three forms, each in its shortest.
func lengths(ctx context.Context, t *conformance.T) error {
	e, err := echoing(ctx, t)
	if err != nil {
		return err
	}
	defer e.c.Close()
	for _, size := range []int{125, 126, 0xffff, 0x10000} {
		if err := e.echo(t, size, func(raw []byte) [][]byte {
			return [][]byte{wire.Joined(wire.Frame{Op: wire.OpBinary, Payload: raw[:size]}, wire.Frame{Op: wire.OpBinary, Payload: raw[size:]})}
		}); err != nil {
			return fmt.Errorf("a frame of %d bytes: %w", size, err)
		}
	}
	return nil
}

// echoer is an echo inside a WebSocket whose frames can be shaped.
type echoer struct {
	c    *wire.WSClient
	conn *tls.Conn
}

func echoing(ctx context.Context, t *conformance.T) (*echoer, error) {
	c, err := socket(ctx, t)
	if err != nil {
		return nil, err
	}
	conn, _, err := inside(ctx, t, c, witness.Order{})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &echoer{c, conn}, nil
}

var errOtherEcho = errors.New("the echo is not what was sent")

// echo sends size bytes of data, whose records plan divides into pieces, and waits for the echo.
func (e *echoer) echo(t *conformance.T, size int, plan func(records []byte) [][]byte) error {
	var held []byte
	e.c.Shape = func(p []byte) [][]byte { held = append(held, p...); return nil }
	data := []byte(strings.Repeat("0123456789abcdef", size/16+1))
	_, err := e.conn.Write(data)
	e.c.Shape = nil
	if err != nil {
		return err
	}
	within(t, e.conn)
	if err := e.c.Pieces(t.Gap(), plan(held)...); err != nil {
		return err
	}
	got := make([]byte, len(data))
	if _, err := io.ReadFull(e.conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("%w: byte %d differs", errOtherEcho, firstDifference(got, data))
	}
	return nil
}

// chopped cuts frames with each form of length behind every byte of the header and the first of the payload, a ping everywhere, and
// drips a ClientHello.
func chopped(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	e, err := echoing(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer e.c.Close()
	seen := func(name string, err error) conformance.Observation {
		o := conformance.Observation{Outcome: t.Outcome(err), Detail: name + ": " + err.Error()}
		if errors.Is(err, errOtherEcho) {
			o.Outcome = conformance.Corrupted
		}
		return o
	}
	count := 0
	for size, header := range map[int]int{60: 6, 400: 8, 0x10000: 14} {
		for at := 1; at <= header+5; at++ {
			count++
			if err := e.echo(t, size, func(raw []byte) [][]byte {
				frame := wire.Frame{Op: wire.OpBinary, Payload: raw}.Bytes()
				return [][]byte{frame[:at], frame[at:]}
			}); err != nil {
				return seen(fmt.Sprintf("a frame of %d bytes cut behind byte %d", size, at), err), nil
			}
		}
	}
	ping := wire.Frame{Op: wire.OpPing, Payload: []byte("chop")}
	for at := 1; at < len(ping.Bytes()); at++ {
		count++
		ping.Payload = fmt.Appendf(nil, "%04d", at)
		raw := ping.Bytes()
		if err := errors.Join(e.c.Pieces(t.Gap(), raw[:at], raw[at:]), ponged(t, e.c, string(ping.Payload))); err != nil {
			return pongMissing(fmt.Errorf("a ping cut behind byte %d: %w", at, err)), nil
		}
	}
	if o, err := dripped(ctx, t, seen); err != nil || o.Outcome != conformance.Intact {
		return o, err
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d cuts, and a handshake whose frames begin byte by byte", count)}, nil
}

// dripped sends the first bytes of each frame one by one, in a part of the time that there is for a ClientHello.
func dripped(ctx context.Context, t *conformance.T, seen func(string, error) conformance.Observation) (conformance.Observation, error) {
	c, err := socket(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer c.Close()
	budget := min(cmp.Or(t.Target.HelloTimeout, t.Wait()), t.Wait())
	c.Shape = func(p []byte) [][]byte {
		raw := wire.Frame{Op: wire.OpBinary, Payload: p}.Bytes()
		at := min(drippedBytes, len(raw))
		return append(wire.Drip(1)(raw[:at]), raw[at:])
	}
	c.Pause = min(t.Gap(), budget/6/drippedBytes) // a handshake has three frames of ours, and may take half of the time
	start := time.Now()
	if _, _, err := inside(ctx, t, c, witness.Order{}); err != nil {
		if took := time.Since(start); took > budget/2 {
			return conformance.Observation{}, fmt.Errorf("the machine is too busy: a handshake byte by byte took %v, and there are only %v for its first message: %w", took, budget, err)
		}
		return seen("a handshake that comes byte by byte", err), nil
	}
	return conformance.Observation{Outcome: conformance.Intact}, nil
}
