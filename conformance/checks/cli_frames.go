package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

func init() {
	ends := pass("no connection: a close frame that names an error of the protocol, or an end before anything behind the ClientHello", rejected)
	clientCheck(conformance.Check{
		ID: "WSF-03-C", Slug: "rsv-opcode-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A reserved bit or opcode from a server fails the connection",
		Why: "A reserved bit that nobody agreed on means that a hop has compressed the payload, or that the reader has lost its place. A client that reads " +
			"on gives TLS bytes that the router never sent, and reports a bad record where the fault is a frame.",
		Clauses: clauses(rfc(6455, "5.2"), rfc(6455, "7.1.7")), Accept: ends, Forbid: mustRefuse("a frame of unknown meaning was taken"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []trial
			for _, rsv := range []byte{4, 2, 1} {
				list = append(list, framed(fmt.Sprintf("reserved bits %03b", rsv), func(f *wire.Frame) { f.RSV = rsv }))
			}
			for _, op := range []byte{3, 7} {
				list = append(list, framed(fmt.Sprintf("data with opcode %#x", op), func(f *wire.Frame) { f.Op = op }))
			}
			for _, op := range []byte{3, 0xb, 0xf} {
				list = append(list, begins(fmt.Sprintf("a frame of opcode %#x in front", op), wire.Frame{Op: op, Payload: warnings(1)}))
			}
			list = append(list, begins("a reserved bit on a ping", wire.Frame{Op: wire.OpPing, RSV: 4, Payload: warnings(1)}))
			return refusesBefore(ctx, t, pastFrame, list...)
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-04-C", Slug: "control-client", Level: conformance.Should, Origin: conformance.Policy,
		Title: "A control frame over 125 bytes, or in fragments, from a server fails the connection",
		Why: "Control frames may stand inside a message, so they have to be small and whole. A client that answers a ping of any length lets its server choose " +
			"how much it holds, and sends back.",
		Clauses: clauses(rfc(6455, "5.5"), rfc(6455, "5.4"), rfc(6455, "7.1.7")), Accept: ends, Forbid: mustRefuse("an illegal control frame was taken"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return refusesBefore(ctx, t, pastFrame,
				begins("a ping of 126 bytes", wire.Frame{Op: wire.OpPing, Payload: warnings(18)}),
				begins("a pong of 126 bytes", wire.Frame{Op: wire.OpPong, Payload: warnings(18)}),
				begins("a fragment of a ping", wire.Frame{Op: wire.OpPing, Payload: warnings(1), More: true}))
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-05-C", Slug: "length-form-client", Level: conformance.Should, Origin: conformance.Policy,
		Title: "A length from a server that is not in its shortest form, or has its top bit set, fails the connection",
		Why: "Two readers that disagree about a length read everything behind it at different places. A top bit taken for a sign is a negative length: " +
			"in the best case a crash of the client.",
		Clauses: clauses(rfc(6455, "5.2"), rfc(6455, "7.1.7")), Accept: ends, Forbid: mustRefuse("a length in a wrong form was taken"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return refusesBefore(ctx, t, pastFrame,
				framed("every length in 64 bits", func(f *wire.Frame) { f.Form = 64 }),
				framed("every length with its top bit set", func(f *wire.Frame) {
					length := uint64(1)<<63 | uint64(len(f.Payload))
					f.Form, f.Announce = 64, &length
				}),
				begins("a ping with a length in 16 bits", wire.Frame{Op: wire.OpPing, Form: 16, Payload: []byte("trb")}))
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-06-C", Slug: "ping-pong-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A server's ping is answered with its own data: without any, with 125 bytes of it, and inside a message",
		Why: "Routers ping so that a load balancer does not count a tunnel as idle, and close the one whose client does not answer. A client that answers " +
			"between messages only is closed in the middle of a long one.",
		Clauses: clauses(rfc(6455, "5.5.2"), rfc(6455, "5.5.3")), Accept: pass("every ping is answered", conformance.Intact),
		Forbid: map[conformance.Outcome]string{conformance.Lost: "a ping was not answered, or with other data"},
		Run:    clientPongs,
	})
	clientCheck(conformance.Check{
		ID: "WSF-07-C", Slug: "frag-interleave-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "Messages in fragments, with control frames between them, are put together",
		Why: "A hop may cut a message as it likes. A client that takes a frame for a message, or forgets where it was when a ping comes between two, loses bytes " +
			"of the TLS stream, and the session dies with a bad record.",
		Clauses: clauses(rfc(6455, "5.4")), Accept: goesOn, Forbid: mustCarry("fragments were not put together"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			random := rand.New(rand.NewPCG(uint64(t.Seed), 7)) //nolint:gosec // repeatable on purpose
			return getThrough(ctx, t,
				trial{"two fragments", script{typ: wire.WebSocket, answer: honest, below: bent(0, fragments(func(int) int { return 20 }, false))}},
				trial{"random fragments with pings between", script{typ: wire.WebSocket, answer: honest, below: bent(0, fragments(random.IntN, true))}})
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-08-C", Slug: "chop-client", Level: conformance.Must, Origin: conformance.RFC,
		Title:   "Frames that come byte by byte are read as those that come at once",
		Why:     "TCP and TLS have no frames. A client that expects a header in one read works until a segment ends in the middle of one.",
		Clauses: clauses(rfc(6455, "5.2")), Accept: goesOn, Forbid: mustCarry("a part of a frame was taken for the whole"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []trial
			for _, size := range []int{1, 3} {
				list = append(list, trial{fmt.Sprintf("%d bytes at a time", size), script{typ: wire.WebSocket, answer: honest, below: bent(0, func(f wire.Frame) [][]byte {
					return wire.Drip(size)(f.Bytes())
				})}})
			}
			return getThrough(ctx, t, list...)
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-09-C", Slug: "close-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A server's close frame is answered with one, with a code that may be sent",
		Why: "A router that is drained says so with 1001 or 1012 and waits for the answer before it closes. A client that leaves without one has its end " +
			"counted as a fault, and 1005, 1006 and 1015 on the wire make libraries fail.",
		Clauses: clauses(rfc(6455, "5.5.1"), rfc(6455, "7.4.1")), Accept: pass("answered with a close frame", closedWell),
		Forbid: map[conformance.Outcome]string{unanswered: "a close frame was not answered with one", reservedCode: "a code was sent that must not be set in a close frame"},
		Run:    clientCloses,
	})
}

// framed is a server with something wrong about each frame of data.
func framed(name string, change func(*wire.Frame)) trial {
	return trial{name, script{typ: wire.WebSocket, answer: honest, below: bent(0, func(f wire.Frame) [][]byte {
		change(&f)
		return [][]byte{f.Bytes()}
	})}}
}

// begins is an honest server but for a frame behind its 101.
func begins(name string, f wire.Frame) trial {
	f.Unmasked = true
	return trial{name, script{typ: wire.WebSocket, answer: honest, behind: [][]byte{f.Bytes()}}}
}

// warnings are n alerts of TLS, 7 bytes each, which a client passes over: who takes a frame of them for data goes on, or says that they are
// too many, and is found out by it.
func warnings(n int) []byte {
	return bytes.Repeat(wire.Record(21, 0x0303, []byte{1, 90}), n) // user_canceled, RFC 9846 section 6.1
}

// pastFrame says how a client got past a frame that it had to end the connection on, though it got no echo: it went on with the TLS below,
// and died of that later. Behind its ClientHello a client has nothing to say to a server whose first frame is the bad one.
func pastFrame(p *played, _ error) string {
	p.mu.Lock()
	socket, begun, tunnel := p.socket, p.begun, p.tunnel
	p.mu.Unlock()
	closed := "without a close frame"
	if socket != nil && socket.Closed() != nil {
		code := socket.Closed().CloseCode()
		if slices.Contains([]int{1002, 1003, 1007, 1008, 1009}, code) {
			return "" // it says itself what it ended on
		}
		closed = fmt.Sprintf("with close frame %d", code)
	}
	if _, n, err := wire.ParseHello(begun); err == nil && tunnel > int64(n) {
		return fmt.Sprintf("went on with %d bytes of TLS behind its ClientHello, and ended %s", tunnel-int64(n), closed)
	}
	return ""
}

// fragments cuts each frame of data where at says, of the bytes that are left. With pings one stands behind each fragment but the last.
func fragments(at func(left int) int, pings bool) func(wire.Frame) [][]byte {
	return func(f wire.Frame) [][]byte {
		if f.Op != wire.OpBinary || len(f.Payload) < 2 {
			return [][]byte{f.Bytes()}
		}
		var out [][]byte
		rest, op := f.Payload, f.Op
		for range 4 {
			n := min(at(len(rest)), len(rest))
			out = append(out, wire.Frame{Op: op, Payload: rest[:n], More: true, Unmasked: true}.Bytes())
			if pings {
				out = append(out, wire.ServerPing([]byte("between")))
			}
			if rest, op = rest[n:], wire.OpContinuation; len(rest) == 0 {
				break
			}
		}
		return append(out, wire.Frame{Op: op, Payload: rest, Unmasked: true}.Bytes())
	}
}

func clientPongs(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	full := fmt.Sprintf("%-125s", t.Nonce)
	inside := "inside " + t.Nonce
	once := false
	list := []struct {
		name, pong string
		script
	}{
		{"without data", "", script{behind: [][]byte{wire.ServerPing(nil)}}},
		{"125 bytes", full, script{behind: [][]byte{wire.ServerPing([]byte(full))}}},
		{"inside a message", inside, script{below: bent(0, func(f wire.Frame) [][]byte {
			if once || len(f.Payload) < 2 {
				return [][]byte{f.Bytes()}
			}
			once = true
			half := len(f.Payload) / 2
			return [][]byte{
				wire.Frame{Op: f.Op, Payload: f.Payload[:half], More: true, Unmasked: true}.Bytes(), wire.ServerPing([]byte(inside)),
				wire.Frame{Op: wire.OpContinuation, Payload: f.Payload[half:], Unmasked: true}.Bytes(),
			}
		})}},
	}
	for _, l := range list {
		l.typ, l.answer = wire.WebSocket, honest
		p, err := play(ctx, t, l.script)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := keeps(ctx, p, []string{l.pong})
		p.stop()
		if o.Outcome != conformance.Intact {
			o.Detail = l.name + ": " + o.Detail
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d pings", len(list))}, nil
}

// closesWith ends the tunnel with a close frame once something has come through it, and waits for the answer.
func closesWith(body []byte) func(*played, *tls.Conn) error {
	return func(p *played, conn *tls.Conn) error {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return err
		}
		if _, err := p.socket.Conn.Write(wire.Frame{Op: wire.OpClose, Payload: body, Unmasked: true}.Bytes()); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, p.socket)
		return err
	}
}

func clientCloses(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	list := map[string][]byte{"1000": wire.CloseBody(1000, ""), "1001": wire.CloseBody(1001, "going away"), "1012": wire.CloseBody(1012, ""), "no code": nil}
	for name, body := range list {
		p, err := play(ctx, t, script{typ: wire.WebSocket, answer: honest, serve: closesWith(body)})
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := p.dialled(ctx)
		if err != nil {
			p.stop()
			return conformance.Observation{}, fmt.Errorf("close frame, %s: %w", name, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(t.Wait()))
		_, _ = io.Copy(io.Discard, conn) // however it ends: what counts is what the server sees
		_ = conn.Close()
		p.stop()
		closed := p.socket.Closed()
		if closed == nil {
			return conformance.Observation{Outcome: unanswered, Detail: "close frame, " + name}, nil
		}
		if code := closed.CloseCode(); len(closed.Payload) >= 2 && (code < 1000 || code == 1004 || code == 1005 || code == 1006 || code == 1015) {
			return conformance.Observation{Outcome: reservedCode, Detail: fmt.Sprintf("close frame, %s: answered with %d", name, code)}, nil
		}
	}
	return conformance.Observation{Outcome: closedWell, Detail: fmt.Sprintf("%d close frames", len(list))}, nil
}
