package checks

import (
	"bytes"
	"context"
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

// bending changes frames that are written through it, one a write, from the first on or from a later one. What bend gives goes out
// each in a write of its own.
type bending struct {
	net.Conn
	from  int
	count *int
	bend  func(wire.Frame) [][]byte
}

func bent(from int, bend func(wire.Frame) [][]byte) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn { return bending{c, from, new(int), bend} }
}

func (b bending) Write(p []byte) (int, error) {
	f, err := wire.ReadFrame(bytes.NewReader(p))
	if err != nil {
		return 0, fmt.Errorf("changing a frame: %w", err)
	}
	if *b.count++; *b.count <= b.from {
		return b.Conn.Write(p)
	}
	for _, piece := range b.bend(f) {
		if _, err := b.Conn.Write(piece); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (b bending) Unwrap() net.Conn { return b.Conn }

func maskedServer(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	mask := func(f wire.Frame) [][]byte {
		f.Unmasked = false
		return [][]byte{f.Bytes()}
	}
	ping := wire.Frame{Op: wire.OpPing, Payload: []byte("masked")}.Bytes()
	return refuses(ctx, t, false,
		trial{"every frame of the server masked", script{typ: wire.WebSocket, answer: honest, below: bent(0, mask)}},
		trial{"its frames but for the first masked", script{typ: wire.WebSocket, answer: honest, below: bent(1, mask)}},
		trial{"a masked ping behind the 101", script{typ: wire.WebSocket, answer: honest, behind: [][]byte{ping}}})
}
