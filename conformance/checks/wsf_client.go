package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "WSF-02", Slug: "masked-server", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Client, Features: []string{"websocket"},
		Title: "A masked frame from a server ends the connection",
		Why: "A server never masks. What looks like a masked frame from one is a client's frame that a broken hop has sent back, or the reader has lost its " +
			"place. A client that takes the mask bit for part of a length, or undoes the mask, hides that until the data are wrong.",
		Clauses: clauses(rfc(6455, "5.1"), rfc(6455, "7.1.7")), Accept: pass("no connection, and the client ends it", rejected),
		Forbid: map[conformance.Outcome]string{
			accepted:            "the client went on with masked frames",
			conformance.Timeout: "the client neither went on nor gave up",
		},
		Control: dials, Run: maskedServer, Timeout: 30 * time.Second,
	})
}

// masking sends each frame that is written through it with a mask, from the first on or from a later one.
type masking struct {
	net.Conn
	from  int
	count *int
}

func (m masking) Write(p []byte) (int, error) {
	f, err := wire.ReadFrame(bytes.NewReader(p))
	if err != nil {
		return 0, fmt.Errorf("masking a frame: %w", err)
	}
	if *m.count++; *m.count <= m.from {
		return m.Conn.Write(p)
	}
	f.Unmasked = false
	if _, err := m.Conn.Write(f.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (m masking) Unwrap() net.Conn { return m.Conn }

func maskedServer(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	masked := func(from int) func(net.Conn) net.Conn {
		count := 0
		return func(c net.Conn) net.Conn { return masking{c, from, &count} }
	}
	ping := wire.Frame{Op: wire.OpPing, Payload: []byte("masked")}.Bytes()
	list := []struct {
		name string
		script
	}{
		{"every frame of the server", script{typ: wire.WebSocket, answer: honest, below: masked(0)}},
		{"its frames but for the first", script{typ: wire.WebSocket, answer: honest, below: masked(1)}},
		{"a ping behind the 101", script{typ: wire.WebSocket, answer: honest, behind: [][]byte{ping}}},
	}
	for _, l := range list {
		p, err := play(ctx, t, l.script)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := p.dialled(ctx)
		if conn != nil {
			_ = conn.Close()
		}
		p.stop()
		upgrades, _, notes := p.seen()
		_, notRun := errors.AsType[*conformance.NotRunError](err)
		switch {
		case notRun:
			return conformance.Observation{}, err
		case err == nil:
			return conformance.Observation{Outcome: accepted, Detail: l.name + " masked: the client carried an echo"}, nil
		case upgrades == 0:
			return conformance.Observation{}, fmt.Errorf("%s: the client never got as far as the 101: %w", l.name, errors.Join(err, notes))
		case errors.Is(err, errStillDialling), t.Outcome(err) == conformance.Timeout:
			return conformance.Observation{Outcome: conformance.Timeout, Detail: l.name + " masked: " + err.Error()}, nil
		}
	}
	return conformance.Observation{Outcome: rejected, Detail: fmt.Sprintf("%d servers that mask", len(list))}, nil
}
