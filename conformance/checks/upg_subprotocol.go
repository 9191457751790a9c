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

// Outcomes of the choice of a subprotocol.
const (
	chosenOffered conformance.Outcome = "offered-or-none"
	notOffered    conformance.Outcome = "not-offered"
	severalChosen conformance.Outcome = "several"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "UPG-17", Slug: "ws-subprotocol", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "The 101 names one of the subprotocols that were offered, or none",
		Why: "A subprotocol is what the messages mean. Clients that look fail the connection over one they did not ask for; those that do not, and a server " +
			"that confirms what it likes, find out in the middle of a session that they speak different languages.",
		Clauses: clauses(rfc(6455, "4.2.2")), Transports: upgraded, Tags: rawHTTP, Features: []string{"upgrade", "websocket"},
		Accept: append(pass("101 with one that was offered, or without", chosenOffered), tolerate("refused for want of a subprotocol", refused4xx)...),
		Forbid: map[conformance.Outcome]string{
			notOffered: "a subprotocol that the client did not offer", severalChosen: "more than one subprotocol, or an empty one",
			notSwitched: "a good request was served as plain HTTP", conformance.Timeout: "neither switched nor refused: the client hangs",
		},
		Control: opens("a"), Run: subprotocols,
	})
	conformance.Register(conformance.Check{
		ID: "UPG-17-C", Slug: "ws-subprotocol-client", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Client, Features: []string{"websocket"},
		Title: "A 101 with a subprotocol that the client did not offer is refused",
		Why: "The server will send messages that mean something else than the client expects. To go on is to feed them to a parser that was not made for " +
			"them, in a tunnel that everybody takes for agreed.",
		Clauses: clauses(rfc(6455, "4.1")), Accept: pass("no connection, and not a byte through the tunnel", rejected),
		Forbid: map[conformance.Outcome]string{
			accepted: "the client went on in a subprotocol that it had not offered", conformance.Timeout: "the client neither went on nor gave up",
		},
		Control: dials, Timeout: 30 * time.Second,
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			digest := func(req *wire.Request) string {
				return "Sec-WebSocket-Accept: " + wire.AcceptFor(req.Header.Get("Sec-Websocket-Key"))
			}
			return lied(ctx, t,
				lie{"another subprotocol", func(req *wire.Request) []string { return []string{digest(req), "Sec-WebSocket-Protocol: trb-other"} }},
				lie{"one of another case", func(req *wire.Request) []string { return []string{digest(req), "Sec-WebSocket-Protocol: Trb-ALPN"} }},
				lie{"an extension", func(req *wire.Request) []string {
					return append(honest(req), "Sec-WebSocket-Extensions: trb-extension")
				}})
		},
	})
}

func subprotocols(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, lines := range [][]string{
		{},
		{"trb-a, trb-b"},
		{"trb-a", "trb-b"},
		{wire.ALPN},
		{"ALPN"},
		{"trb-a, " + wire.ALPN, wire.ALPNPing + " ,trb-b"},
	} {
		fields := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + wire.Key}
		var offered []string
		for _, l := range lines {
			fields = append(fields, "Sec-WebSocket-Protocol: "+l)
			for name := range strings.SplitSeq(l, ",") {
				offered = append(offered, strings.TrimSpace(name))
			}
		}
		o, err := each(ctx, t, []offer{{fmt.Sprintf("offered %q", offered), request(t, fields...)}}, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
			o := answeredWith(t, resp, err)
			if o.Outcome != switched {
				return o
			}
			got := resp.Header.Values("Sec-WebSocket-Protocol")
			o = conformance.Observation{Outcome: chosenOffered, Detail: fmt.Sprintf("chosen %q", got)}
			switch {
			case len(got) > 1, len(got) == 1 && (got[0] == "" || strings.Contains(got[0], ",")):
				o.Outcome = severalChosen
			case len(got) == 1 && !slices.Contains(offered, got[0]):
				o.Outcome = notOffered
			}
			return o
		})
		if err != nil {
			return o, err
		}
		seen = append(seen, o)
	}
	o := worst(t, seen)
	o.Detail = fmt.Sprintf("%d offers; %s", len(seen), o.Detail)
	return o, nil
}
