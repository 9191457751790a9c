package checks

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of closing a WebSocket.
const (
	closedWell   conformance.Outcome = "closed"         // every close frame was answered as it should be
	unanswered   conformance.Outcome = "unanswered"     // closed without a close frame in answer to one
	reservedCode conformance.Outcome = "reserved-code"  // a close frame with a code that must not be sent
	refusedCode  conformance.Outcome = "good-refused"   // a registered code was taken for a protocol error
	deflated     conformance.Outcome = "deflate-agreed" // permessage-deflate is in the 101
	undeflated   conformance.Outcome = "no-extension"
)

func init() {
	socketCheck(conformance.Check{
		ID: "WSF-09", Slug: "close", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A close frame is answered with one, and only codes that may be sent are sent",
		Why: "1005, 1006 and 1015 are what an API reports when no close frame came: on the wire they are a lie, and libraries fail on it. A server that takes " +
			"1012 to 1014 for an error shows every planned restart of its clients as a fault.",
		Clauses: clauses(rfc(6455, "5.5.1"), rfc(6455, "7.4"), rfc(6455, "7.4.1"), rfc(6455, "8.1"),
			result.Clause{Doc: "IANA, WebSocket Close Code Number Registry", URL: "https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number"}),
		Accept: pass("good close frames are answered, and any ends the connection", closedWell),
		Forbid: map[conformance.Outcome]string{
			unanswered:          "a close frame was not answered with one",
			reservedCode:        "a code was sent that must not be set in a close frame",
			refusedCode:         "a registered code was refused",
			leftOpen:            "both close frames were sent, but the connection stayed open",
			conformance.Timeout: "a close frame was not answered at all",
		},
		Run: closes,
	})
	socketCheck(conformance.Check{
		ID: "WSF-12", Slug: "no-deflate", Level: conformance.Should, Origin: conformance.Policy,
		Title: "permessage-deflate is not agreed to",
		Why: "Ciphertext does not compress: the extension costs a window of 32 KiB and the time to fill it for each tunnel, and gains nothing. It also makes " +
			"the tunnel depend on every hop's knowing the same extension.",
		Clauses: clauses(policy("section 5, upgrade.types"), rfc(6455, "9.1")),
		Accept:  pass("101 without an extension", undeflated), Run: offersDeflate,
		Forbid: map[conformance.Outcome]string{
			deflated: "compression of what cannot be compressed was agreed to", refused4xx: "a good request was refused for an extension that it only offered",
			notSwitched: "a good request was not switched for an extension that it only offered",
		},
	})
}

func offersDeflate(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var list []offer
	for _, ext := range []string{"permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover, permessage-deflate"} {
		lines := append([]string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Extensions: " + ext}, webSocketFields...)
		list = append(list, offer{ext, request(t, lines...)})
	}
	return each(ctx, t, list, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
		o := answeredWith(t, resp, err)
		if o.Outcome != switched {
			return o
		}
		if got := resp.Header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
			return conformance.Observation{Outcome: deflated, Detail: fmt.Sprintf("%q", got)}
		}
		return conformance.Observation{Outcome: undeflated, Detail: "no extension in the 101"}
	})
}

// closing is a close frame and whether it is a good one. session has it sent behind the close_notify of a TLS session.
type closing struct {
	name    string
	body    []byte
	good    bool
	session bool
}

// closes sends each close frame on a WebSocket of its own, and waits for all answers at once: one may be put off until what is being sent has gone.
func closes(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	list := []closing{
		{name: "no code", good: true},
		{name: "1000 behind a session", body: wire.CloseBody(1000, "done"), good: true, session: true},
		{name: "half a code", body: []byte{3}},
		{name: "a reason that is not UTF-8", body: wire.CloseBody(1000, "\xff\xfe")},
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		list = append(list, closing{name: fmt.Sprint(code), body: wire.CloseBody(code, ""), good: true})
	}
	for _, code := range []uint16{0, 999, 1005, 1006, 1015} {
		list = append(list, closing{name: fmt.Sprint(code), body: wire.CloseBody(code, "")})
	}
	// The WebSockets are made one after the other: two dozen handshakes at once would be a test of something else.
	sockets := map[string]*wire.WSClient{}
	for i := range list {
		c, err := beforeClose(ctx, t, list[i].session)
		if err != nil {
			return conformance.Observation{}, err
		}
		defer c.Close()
		sockets[list[i].name] = c
	}
	return inParallel(t, slices.Sorted(maps.Keys(sockets)), func(name string) (conformance.Observation, error) {
		c, with := sockets[name], list[slices.IndexFunc(list, func(l closing) bool { return l.name == name })]
		within(t, c)
		if err := c.Send(wire.Frame{Op: wire.OpClose, Payload: with.body}); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
		}
		return judgeClose(t, with, wire.ReadEnding(c.Conn)), nil
	})
}

// beforeClose is a WebSocket, with a session inside that has ended its side if there is to be one.
func beforeClose(ctx context.Context, t *conformance.T, session bool) (*wire.WSClient, error) {
	c, err := socket(ctx, t)
	if err != nil || !session {
		return c, err
	}
	conn, _, err := inside(ctx, t, c, witness.Order{})
	if err == nil {
		err = conn.CloseWrite()
	}
	return c, err
}

func judgeClose(t *conformance.T, with closing, e wire.Ending) conformance.Observation {
	out := t.Outcome(e.Err)
	if e.Close == nil {
		switch {
		case out == conformance.Timeout:
		case with.good:
			out = unanswered
		default: // failing the connection without a close frame is allowed
			out = closedWell
		}
		return conformance.Observation{Outcome: out, Detail: fmt.Sprintf("no close frame, %v", e.Err)}
	}
	code := e.Close.CloseCode()
	o := conformance.Observation{Outcome: closedWell, Detail: fmt.Sprintf("answered with %d", code)}
	switch {
	case len(e.Close.Payload) == 1, len(e.Close.Payload) > 1 && (code < 1000 || code > 4999 || slices.Contains([]int{1005, 1006, 1015}, code)):
		o.Outcome = reservedCode
	case out == conformance.Timeout:
		o.Outcome = leftOpen
	case with.good && code == 1002 && with.name != "1002":
		o.Outcome = refusedCode
	}
	return o
}
