package checks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of a WebSocket over HTTP/2.
const (
	unsaid     conformance.Outcome = "not-announced"
	refusedH2  conformance.Outcome = "connect-refused"
	otherProto conformance.Outcome = "no-h2"
)

// overWindow is more than fits the windows of HTTP/2 as they begin, 65535 bytes, several times.
const overWindow = 300_000

func init() {
	conformance.Register(conformance.Check{
		ID: "UPG-23", Slug: "extended-connect", Level: conformance.May, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A WebSocket over HTTP/2 is announced, agreed to, and carries every byte",
		Why: "A browser that has an HTTP/2 connection uses it for WebSockets only when the server has said that it may. What says so and then wants a key, or " +
			"loses its place when a window is full, breaks the clients that need no second connection.",
		Clauses: clauses(rfc(8441, "3"), rfc(8441, "4"), rfc(8441, "5")), Transports: upgraded, Tags: rawHTTP,
		Features: []string{"upgrade", "websocket", "extended-connect"}, Accept: pass(whole, conformance.Intact), Timeout: 20 * time.Second,
		Forbid: map[conformance.Outcome]string{
			unsaid: "extended CONNECT is claimed, and not announced in the settings", refusedH2: "a good CONNECT for a WebSocket was refused",
			otherProto: "HTTP/2 is not agreed to", conformance.Corrupted: "the bytes are not those that were sent", conformance.Truncated: "the stream ended early",
		},
		Control: opens("a"), Run: extendedConnect,
	})
}

func extendedConnect(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	if !t.Path.Upgrade.TLS {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "HTTP/2 is agreed to by ALPN, and this endpoint has no TLS"}
	}
	outer, err := frontTLS(ctx, t, "h2")
	if trouble, ok := errors.AsType[*harnessError](err); ok {
		return conformance.Observation{}, trouble
	}
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "TLS that offers h2: " + err.Error()}, nil
	}
	if got := outer.ConnectionState().NegotiatedProtocol; got != "h2" {
		return conformance.Observation{Outcome: otherProto, Detail: fmt.Sprintf("offered h2, got %q", got)}, nil
	}
	within(t, outer)
	stream, err := wire.ConnectH2(outer, t.Path.Upgrade.Host, t.Path.Upgrade.Path)
	if status, ok := errors.AsType[*wire.StatusError](err); ok {
		return conformance.Observation{Outcome: refusedH2, Detail: fmt.Sprintf("status %d", status.Response.Status)}, nil
	}
	if errors.Is(err, wire.ErrNoExtendedConnect) {
		return conformance.Observation{Outcome: unsaid, Detail: err.Error()}, nil
	}
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	defer func() { _ = stream.Close() }() // what is left of it is of no interest
	c := wire.NewWSClient(stream)
	conn, nonce, err := inside(ctx, t, c, witness.Order{})
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	return backAndForth(ctx, t, c, conn, nonce, overWindow), nil
}
