package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// wsClose is the outcome "a close frame with this code, and the end of the connection".
func wsClose(code int) conformance.Outcome {
	return conformance.Outcome(fmt.Sprintf("ws-close:%d", code))
}

// socketCheck registers a check of the frames that a router reads.
func socketCheck(c conformance.Check) {
	c.Role, c.Transports, c.Tags = conformance.Router, upgraded, slices.Concat(rawHTTP, c.Tags)
	c.Features = append([]string{"upgrade", "websocket"}, c.Features...)
	if c.Control == nil {
		c.Control = opens("a")
	}
	conformance.Register(c)
}

func init() {
	failed := slices.Concat(
		pass("failed with a close frame 1002", wsClose(1002)),
		tolerate("failed with another code, or without the close frame, which section 7.1.7 allows to leave out", wsClose(1000), wsClose(1001), wsClose(1003),
			wsClose(1007), wsClose(1008), wsClose(1011), conformance.FIN, conformance.RST))
	went := func(reason string) map[conformance.Outcome]string {
		return map[conformance.Outcome]string{
			accepted:            reason,
			conformance.Timeout: "the connection was neither used nor failed",
			leftOpen:            "a close frame, but the connection stayed open behind it",
			conformance.Dialled: "a backend was dialled for a frame that must not be obeyed",
		}
	}
	socketCheck(conformance.Check{
		ID: "WSF-01", Slug: "unmasked", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC,
		Title: "An unmasked frame from a client ends the connection",
		Why: "The mask keeps a client from writing bytes of its choice into a connection that a proxy on the way may read as HTTP. A server that takes " +
			"frames without it invites clients that leave it out, and with them the poisoned caches that the mask was made against.",
		Clauses: clauses(rfc(6455, "5.1"), rfc(6455, "7.1.7")), Accept: failed, Forbid: went("an unmasked frame was taken"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			hello := helloRecord(t)
			return failsOn(ctx, t,
				badFrames{"an unmasked binary frame", []wire.Frame{{Op: wire.OpBinary, Payload: hello, Unmasked: true}}, nil},
				badFrames{"an unmasked ping", []wire.Frame{{Op: wire.OpPing, Payload: []byte("unmasked"), Unmasked: true}}, hello},
				badFrames{"a masked frame, then an unmasked one", []wire.Frame{
					{Op: wire.OpBinary, Payload: hello[:20]}, {Op: wire.OpBinary, Payload: hello[20:], Unmasked: true},
				}, nil})
		},
	})
	socketCheck(conformance.Check{
		ID: "WSF-03", Slug: "rsv-opcode", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC,
		Title: "A reserved bit or opcode fails the connection",
		Why: "A reserved bit means that the payload is not what it looks like: compressed, for one. Whoever reads on hands the next hop bytes that " +
			"nobody sent, and the inner handshake fails somewhere else.",
		Clauses: clauses(rfc(6455, "5.2"), rfc(6455, "7.1.7")), Accept: failed, Forbid: went("a frame of unknown meaning was taken"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			hello := helloRecord(t)
			var list []badFrames
			for _, rsv := range []byte{4, 2, 1, 7} {
				list = append(list, badFrames{fmt.Sprintf("reserved bits %03b", rsv), []wire.Frame{{Op: wire.OpBinary, RSV: rsv, Payload: hello}}, nil})
			}
			list = append(list, badFrames{"reserved bit on a ping", []wire.Frame{{Op: wire.OpPing, RSV: 4, Payload: []byte("reserved")}}, hello})
			for _, op := range []byte{3, 7, 0xb, 0xf} {
				list = append(list, badFrames{fmt.Sprintf("opcode %#x", op), []wire.Frame{{Op: op, Payload: hello[:60]}}, hello})
			}
			return failsOn(ctx, t, list...)
		},
	})
	socketCheck(conformance.Check{
		ID: "WSF-04", Slug: "control", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.Policy, // section 5.5 binds who sends; a receiver is told nothing
		Title: "A control frame over 125 bytes or in fragments, or a continuation of nothing, fails the connection",
		Why: "Control frames may stand inside a message, so they have to be small and whole: a reader keeps one in a fixed buffer. Where the bound is " +
			"not held a ping of a gigabyte is a gigabyte of memory, twice, for it is to be sent back.",
		Clauses: clauses(rfc(6455, "5.5"), rfc(6455, "5.4"), rfc(6455, "7.1.7")), Accept: failed, Forbid: went("an illegal control frame was taken"),
		Control: both(opens("a"), pongsFor(make([]byte, 125))),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			hello, long := helloRecord(t), make([]byte, 126)
			var list []badFrames
			for op, name := range map[byte]string{wire.OpPing: "ping", wire.OpPong: "pong"} {
				list = append(list,
					badFrames{"a " + name + " of 126 bytes", []wire.Frame{{Op: op, Payload: long}}, hello},
					badFrames{"a fragmented " + name, []wire.Frame{{Op: op, Payload: []byte("frag"), More: true}, {Op: wire.OpContinuation, Payload: []byte("ment")}}, hello})
			}
			slices.SortFunc(list, func(a, b badFrames) int { return len(a.name) - len(b.name) })
			list = append(list,
				badFrames{"a close frame of 126 bytes", []wire.Frame{{Op: wire.OpClose, Payload: wire.CloseBody(closeSent, string(long[2:]))}}, nil},
				badFrames{"a continuation of nothing", []wire.Frame{{Op: wire.OpContinuation, Payload: hello}}, nil},
				badFrames{"a fragmented close frame", []wire.Frame{{Op: wire.OpClose, Payload: wire.CloseBody(closeSent, ""), More: true}, {Op: wire.OpContinuation}}, nil})
			return failsOn(ctx, t, list...)
		},
	})
	socketCheck(conformance.Check{
		ID: "WSF-05", Slug: "length-form", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.Policy, // as WSF-04, of section 5.2
		Title: "A length that is not in its shortest form, or has its top bit set, fails the connection",
		Why: "Two readers that disagree about a length read everything behind it at different places. A top bit taken for a sign is a negative length: " +
			"in the best case a crash.",
		Clauses: clauses(rfc(6455, "5.2"), rfc(6455, "7.1.7")), Accept: append(failed, tolerate("refused as too big", wsClose(1009))...),
		Forbid:  went("a length in a wrong form was taken"),
		Control: both(opens("a"), lengths), Run: wrongLengths,
	})
	socketCheck(conformance.Check{
		ID: "WSF-10", Slug: "text-in-binary", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC,
		Title: "A text frame in a binary tunnel is refused with 1003",
		Why: "TLS records are not text. A client that sends them as such meets, sooner or later, a hop that checks for UTF-8, and then only in some " +
			"sessions. A tunnel that refuses it at once finds the mistake in the first test.",
		Clauses: clauses(rfc(6455, "7.4.1"), rfc(6455, "5.6")),
		Accept: slices.Concat(pass("closed with 1003", wsClose(1003)),
			tolerate("closed with another code, or without one", wsClose(1002), wsClose(1007), wsClose(1008), conformance.FIN, conformance.RST)),
		Forbid: went("the text was taken for bytes of the tunnel"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			hello := helloRecord(t)
			return failsOn(ctx, t,
				badFrames{"a text frame", []wire.Frame{{Op: wire.OpText, Payload: hello}}, nil},
				badFrames{"text in two fragments", []wire.Frame{{Op: wire.OpText, Payload: hello[:30], More: true}, {Op: wire.OpContinuation, Payload: hello[30:]}}, nil},
				badFrames{"text behind binary", []wire.Frame{{Op: wire.OpBinary, Payload: hello[:30]}, {Op: wire.OpText, Payload: hello[30:]}}, nil})
		},
	})
}

// helloRecord is a ClientHello for route a in one record: whoever takes the frame that it comes in answers it.
func helloRecord(t *conformance.T) []byte {
	return slices.Concat(wire.Records(wire.NewHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}}))...)
}

// badFrames are frames of which one must fail the connection. Then bytes follow in a good frame, and a ping: nothing of it may be
// obeyed.
type badFrames struct {
	name   string
	frames []wire.Frame
	then   []byte
}

// closeSent is a code that no server chooses by itself: one that comes back is an echo.
const closeSent = 4321

// socket is a WebSocket on this path through which nothing has gone yet.
func socket(ctx context.Context, t *conformance.T) (*wire.WSClient, error) {
	resp, rest, err := exchange(ctx, t, asks(t, wire.WebSocket))
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	if resp.Status != 101 {
		return nil, errors.Join(&wire.StatusError{Response: resp}, rest.Close())
	}
	return wire.NewWSClient(rest), nil
}

// failsOn sends each on a WebSocket of its own, in one write, and reports the worst of what came of it.
func failsOn(ctx context.Context, t *conformance.T, list ...badFrames) (conformance.Observation, error) {
	before := t.Accepted()
	var seen []conformance.Observation
	for _, bad := range list {
		o, err := failing(ctx, t, bad)
		if err != nil {
			return o, err
		}
		o.Detail = bad.name + ": " + o.Detail
		if _, forbidden := t.Check.Forbid[o.Outcome]; forbidden {
			return o, nil // the others could not be worse, and each may take a wait
		}
		seen = append(seen, o)
	}
	o := worst(t, seen)
	o.Detail = fmt.Sprintf("%d connections; %s", len(list), o.Detail)
	return undialled(ctx, t, before, o), nil
}

func failing(ctx context.Context, t *conformance.T, bad badFrames) (conformance.Observation, error) {
	c, err := socket(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer c.Close()
	within(t, c)
	frames := slices.Clone(bad.frames)
	if bad.then != nil {
		frames = append(frames, wire.Frame{Op: wire.OpBinary, Payload: bad.then})
	}
	if err := c.Send(append(frames, wire.Frame{Op: wire.OpPing, Payload: []byte("behind " + t.Nonce)})...); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	return ended(t, wire.ReadEnding(c.Conn)), nil
}

// ended says in this file's outcomes what a server did with frames that must fail the connection.
func ended(t *conformance.T, e wire.Ending) conformance.Observation {
	out := t.Outcome(e.Err)
	switch {
	case len(e.Frames) > 0:
		return conformance.Observation{Outcome: accepted, Detail: fmt.Sprintf("answered with a frame of opcode %#x and %d bytes", e.Frames[0].Op, len(e.Frames[0].Payload))}
	case e.Close == nil:
		return conformance.Observation{Outcome: out, Detail: e.Err.Error()}
	case e.Close.CloseCode() == closeSent:
		return conformance.Observation{Outcome: accepted, Detail: "the close frame was answered with its own code"}
	case len(e.Behind) > 0:
		return conformance.Observation{Outcome: accepted, Detail: fmt.Sprintf("a frame of opcode %#x came behind the close frame", e.Behind[0].Op)}
	case out == conformance.Timeout:
		return conformance.Observation{Outcome: leftOpen, Detail: fmt.Sprintf("close frame %d, then nothing", e.Close.CloseCode())}
	}
	return conformance.Observation{Outcome: wsClose(e.Close.CloseCode()), Detail: fmt.Sprintf("close frame %d, then %v", e.Close.CloseCode(), e.Err)}
}

func wrongLengths(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	hello := helloRecord(t)
	large, top := uint64(0xffff), uint64(1)<<63|uint64(len(hello))
	one := func(f wire.Frame) []wire.Frame { return []wire.Frame{f} }
	return failsOn(ctx, t,
		badFrames{"125 bytes with a length of 16 bits", one(wire.Frame{Op: wire.OpBinary, Form: 16, Payload: hello[:125]}), hello[125:]},
		badFrames{"125 bytes with a length of 64 bits", one(wire.Frame{Op: wire.OpBinary, Form: 64, Payload: hello[:125]}), hello[125:]},
		// Only the beginning of this one is sent, or the end of the connection would meet what is still on its way.
		badFrames{"65535 bytes with a length of 64 bits", one(wire.Frame{Op: wire.OpBinary, Form: 64, Announce: &large, Payload: hello}), nil},
		badFrames{"a ping of 5 bytes with a length of 16 bits", one(wire.Frame{Op: wire.OpPing, Form: 16, Payload: []byte("16bit")}), hello},
		badFrames{"a length with its top bit set", one(wire.Frame{Op: wire.OpBinary, Form: 64, Announce: &top, Payload: hello}), nil})
}
