package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// rejected is the outcome "the client gave the connection up and sent nothing through it".
const rejected conformance.Outcome = "rejected"

func init() {
	conformance.Register(conformance.Check{
		ID: "TUN-03", Slug: "behind-101", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Client,
		Title: "Bytes that arrive in the same segment as the 101 are not lost",
		Why: "A server may write into the tunnel as soon as it has agreed to it, and the network may deliver both at once. A client that reads the " +
			"101 through a buffered reader and goes on with the socket loses what the buffer holds: a ping, or half of one, and then every frame is read at the wrong place.",
		Clauses: clauses(policy("section 8, the client keeps every byte that arrives behind the 101"), rfc(6455, "5.5.2"), rfc(6455, "5.5.3")),
		Accept:  pass("the tunnel works, and what came behind the 101 was taken in", conformance.Intact),
		Forbid:  map[conformance.Outcome]string{conformance.Lost: "what came with the 101 did not reach the tunnel"},
		Control: dials, Run: behind101, Timeout: 30 * time.Second,
	})
	conformance.Register(conformance.Check{
		ID: "UPG-16-C", Slug: "ws-accept-client", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Client,
		Title: "A 101 with a wrong Sec-WebSocket-Accept, or none, is refused",
		Why: "The digest tells a server that speaks WebSocket from one that was tricked into a 101, or from a cache that answers with somebody " +
			"else's. A client that does not look sends its ClientHello to whoever is there.",
		Clauses: clauses(rfc(6455, "4.1")), Accept: pass("no connection, and not a byte through the tunnel", rejected),
		Forbid: map[conformance.Outcome]string{
			accepted:            "the client went on with a server that had not proved that it understood",
			conformance.Timeout: "the client neither went on nor gave up",
		},
		Control: dials, Run: lyingAccept, Timeout: 30 * time.Second,
	})
}

func behind101(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	one, two := wire.ServerPing([]byte("one "+t.Nonce)), wire.ServerPing([]byte("two "+t.Nonce))
	type variant struct {
		name   string
		script script
		pongs  []string
	}
	socket := func(pieces ...[]byte) script { return script{typ: wire.WebSocket, answer: honest, behind: pieces} }
	variants := []variant{
		{"a ping in the segment of the 101", socket(one), []string{"one " + t.Nonce}},
		{"the first byte of a ping, then the rest", socket(one[:1], one[1:]), []string{"one " + t.Nonce}},
		{"a ping and a half, then the rest", socket(slices.Concat(one, two[:7]), two[7:]), []string{"one " + t.Nonce, "two " + t.Nonce}},
	}
	if has(t, wire.ALPNPing) {
		framed := func(pieces ...[]byte) script {
			return script{typ: wire.ALPNPing, answer: func(*wire.Request) []string { return nil }, behind: pieces}
		}
		variants = append(variants, variant{"alpn-ping: a ping and a half, then the rest", framed(make([]byte, 6), make([]byte, 2)), nil})
	}
	for _, v := range variants {
		p, err := play(ctx, t, v.script)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := keeps(ctx, p, v.pongs)
		p.stop()
		if o.Outcome != conformance.Intact {
			o.Detail = v.name + ": " + o.Detail
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d shapes", len(variants))}, nil
}

// keeps dials and looks for the pongs that the bytes behind the 101 must bring about.
func keeps(ctx context.Context, p *played, want []string) conformance.Observation {
	conn, err := p.dialled(ctx)
	if err != nil {
		_, _, notes := p.seen()
		return conformance.Observation{Outcome: conformance.Lost, Detail: fmt.Sprintf("the tunnel did not work: %v; the server: %v", err, notes)}
	}
	defer conn.Close()
	// Of several pings only the last need be answered (RFC 6455 section 5.5.3); its pong says that those before it were read as well.
	got := p.pongs(ctx, want)
	if !slices.Equal(got, want) && (len(want) == 0 || !slices.Equal(got, want[len(want)-1:])) {
		return conformance.Observation{Outcome: conformance.Lost, Detail: fmt.Sprintf("pongs %q, expected %q", got, want)}
	}
	return conformance.Observation{Outcome: conformance.Intact}
}

// lie is a 101 that a client must refuse: its field lines but for Upgrade and Connection.
type lie struct {
	name   string
	answer func(req *wire.Request) []string
}

func lyingAccept(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	digest := func(name string, of func(key string) string) lie {
		return lie{name, func(req *wire.Request) []string {
			lines := subprotocol(req)
			if v := of(req.Header.Get("Sec-Websocket-Key")); v != "" {
				lines = append(lines, "Sec-WebSocket-Accept: "+v)
			}
			return lines
		}}
	}
	return lied(ctx, t,
		digest("the digest of another key", func(string) string { return wire.AcceptFor(sampleKey) }),
		digest("no digest", func(string) string { return "" }),
		digest("the key itself", func(key string) string { return key }),
		digest("the digest in the other case of letters", func(key string) string { return otherCase(wire.AcceptFor(key)) }))
}

// lied dials each server. A client that refuses its 101 sends nothing through the tunnel.
func lied(ctx context.Context, t *conformance.T, lies ...lie) (conformance.Observation, error) {
	var list []trial
	for _, lie := range lies {
		list = append(list, trial{lie.name, script{typ: wire.WebSocket, answer: lie.answer}})
	}
	return refuses(ctx, t, true, list...)
}

func otherCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}
