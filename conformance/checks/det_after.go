package checks

import (
	"context"
	"fmt"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "DET-09", Slug: "ccs-or-early-after-ch", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Records that come with the ClientHello do not disturb routing, and follow it",
		Why: "Clients that look like TLS 1.2 to middleboxes send a change_cipher_spec right behind the ClientHello, often in the same segment. A router that " +
			"expects nothing there ends the connection, or loses or misplaces what it had read too much.",
		// What comes behind a passed-through hello is compared byte by byte in TLS-26.
		Clauses: clauses(appendix(9846, "E.4"), rfc(9846, "9.3")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{
			conformance.Misrouted: "what came behind the ClientHello was taken for a part of it", conformance.Timeout: "the router waited for a ClientHello that it had",
			conformance.Alert(10): "a record that is to be dropped, or passed on, was refused", conformance.Alert(50): "what came behind the ClientHello was taken for a part of it",
		},
		Control: opens("a"), Run: behindHello,
	})
}

func appendix(number int, name string) result.Clause {
	return result.Clause{Doc: fmt.Sprintf("RFC %d", number), Section: "appendix " + name, URL: fmt.Sprintf("https://www.rfc-editor.org/rfc/rfc%d#appendix-%s", number, name)}
}

func behindHello(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	ccs := wire.Record(20, 0x0303, []byte{1})
	shapes := []struct {
		name  string
		sizes []int
		after []byte
	}{
		{"one change_cipher_spec", nil, ccs},
		{"behind a hello in three records", []int{firstPart, firstPart, wire.MaxFragment}, ccs},
		{"the first byte of one, the rest later", nil, ccs[:1]},
	}
	for _, route := range splitRoutes(t) {
		for _, s := range shapes {
			o, err := withBehind(ctx, t, route, s.sizes, s.after, ccs[len(s.after):])
			if err != nil || o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("route %s, %s: %s", route, s.name, o.Detail)
				return o, err
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("%d shapes on routes %v", len(shapes), splitRoutes(t))}, nil
}

// withBehind sends the hello and what follows it in one write, and the rest of that in another.
func withBehind(ctx context.Context, t *conformance.T, route string, sizes []int, after, rest []byte) (conformance.Observation, error) {
	cfg, err := t.Config(route)
	if err != nil {
		return conformance.Observation{}, err
	}
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stream.Close()
	msg, key, err := wire.HelloTLS13(wire.HelloOptions{SNI: cfg.ServerName, ALPN: cfg.NextProtos})
	if err != nil {
		return conformance.Observation{}, err
	}
	for _, raw := range [][]byte{slices.Concat(append(wire.Records(msg, sizes...), after)...), rest} {
		if len(raw) == 0 {
			continue
		}
		if err := bounded(t, stream, raw); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
		}
	}
	s, err := wire.Connect(stream, msg, key)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "handshake: " + err.Error()}, nil
	}
	return ask(ctx, t, s, witnessOf(t, route)), nil
}
