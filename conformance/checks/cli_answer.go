package checks

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// endlessHead is how long the header of UPG-22-C is: many times what any client has a use for.
const endlessHead = 4 << 20

// clientCheck registers a check of what a client does with its server, over WebSocket unless it says otherwise.
func clientCheck(c conformance.Check) {
	c.Role, c.Timeout = conformance.Client, 40*time.Second
	if c.Features == nil {
		c.Features = []string{wire.WebSocket}
	}
	if c.Control == nil {
		c.Control = dials
	}
	conformance.Register(c)
}

// Accepted and forbidden outcomes of checks in which a client must give up, and of those in which it must go on.
var (
	givesUp = pass("no connection, and not a byte through the tunnel", rejected)
	goesOn  = pass("the tunnel works", conformance.Intact)
)

func mustRefuse(reason string) map[conformance.Outcome]string {
	return map[conformance.Outcome]string{accepted: reason, conformance.Timeout: "the client neither went on nor gave up"}
}

func mustCarry(reason string) map[conformance.Outcome]string {
	return map[conformance.Outcome]string{conformance.Lost: reason, conformance.Timeout: "the client neither went on nor gave up"}
}

func init() {
	clientCheck(conformance.Check{
		ID: "UPG-01-C", Slug: "101-fields-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A 101 without Upgrade: websocket, or without Connection: Upgrade, is refused",
		Why: "A 101 says that the protocol changes, and its Upgrade field to which. A client that looks at the status alone takes a switch to anything for " +
			"the one it asked for, such as that of a hop on the way that answers for itself.",
		Clauses: clauses(rfc(6455, "4.1"), rfc(9110, "7.8")), Accept: givesUp, Forbid: mustRefuse("the client went on without the fields that make a switch"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return refuses(ctx, t, true,
				answering("another protocol", false, "Upgrade: trb-other", "Connection: Upgrade"),
				answering("no Upgrade", false, "Connection: Upgrade"),
				answering("no Connection", false, "Upgrade: websocket"),
				answering("Connection without the option", false, "Upgrade: websocket", "Connection: keep-alive"))
		},
	})
	clientCheck(conformance.Check{
		ID: "UPG-03-C", Slug: "token-case-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "The fields of a 101 are read in any case of letters, and Connection as a list",
		Why: "Load balancers write the answer anew: WebSocket, UPGRADE, and other options beside the one that counts. A client that compares bytes works " +
			"until somebody changes the product in front of the router.",
		Clauses: clauses(rfc(6455, "4.1"), rfc(9110, "7.6.1"), rfc(9110, "7.8")), Accept: goesOn, Forbid: mustCarry("the client refused a good 101 for the way it is written"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return getThrough(ctx, t,
				answering("WebSocket", false, "Upgrade: WebSocket", "Connection: Upgrade"),
				answering("in capitals", false, "UPGRADE: WEBSOCKET", "CONNECTION: UPGRADE"),
				answering("in small letters, without space", false, "upgrade:websocket", "connection:upgrade"),
				answering("another option in front", false, "Upgrade: websocket", "Connection: keep-alive, Upgrade"),
				answering("two lines of Connection", false, "Upgrade: websocket", "Connection: keep-alive", "Connection: Upgrade"))
		},
	})
	clientCheck(conformance.Check{
		ID: "UPG-07-C", Slug: "interim-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "Interim answers before the 101 are passed over",
		Why: "A server, or a hop, may send 100, 102 or 103 before the answer that counts. To a client that takes the first header for the answer the 101 is " +
			"a body, or the tunnel begins in the middle of a header.",
		Clauses: clauses(rfc(9110, "15.2")), Accept: goesOn, Forbid: mustCarry("an interim answer was taken for the final one"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			early := headOf("HTTP/1.1 103 Early Hints", "Link: </trb>; rel=preload")
			return getThrough(ctx, t, preceded("100", headOf("HTTP/1.1 100 Continue")), preceded("103", early),
				preceded("100 and 103", headOf("HTTP/1.1 100 Continue")+early))
		},
	})
	clientCheck(conformance.Check{
		ID: "UPG-18-C", Slug: "non-101-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "An answer other than 101 is no tunnel, whatever fields it has",
		Why: "A 200 with the right Upgrade is a page about upgrades. Whoever sends a ClientHello behind it sends it to an HTTP parser, which logs it, answers " +
			"400, or waits; the client should have said at once which status it got.",
		Clauses: clauses(rfc(6455, "4.1"), rfc(9110, "7.8")), Accept: givesUp, Forbid: mustRefuse("bytes of the tunnel were sent behind an answer that refuses it"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var list []trial
			for _, status := range []string{"200 OK", "202 Accepted", "302 Found", "400 Bad Request", "401 Unauthorized", "403 Forbidden", "426 Upgrade Required", "502 Bad Gateway", "503 Service Unavailable"} {
				list = append(list, answering(status, true, "Upgrade: websocket", "Connection: Upgrade", "Content-Length: 2"))
			}
			return refuses(ctx, t, true, list...)
		},
	})
	clientCheck(conformance.Check{
		ID: "UPG-22-C", Slug: "limits-client", Level: conformance.Should, Origin: conformance.Policy,
		Title: fmt.Sprintf("An answer with a header of %d MiB is given up", endlessHead>>20),
		Why: "Whoever answers is not yet known to be the router. A client that keeps reading fields for as long as they come gives a stranger on the way " +
			"as much of its memory as he likes.",
		Clauses: clauses(policy("section 8, every read is bounded"), rfc(9110, "5.4")), Accept: givesUp, Forbid: mustRefuse("the client read a header of any length"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			line := "X-Trb-Padding: " + strings.Repeat("x", 1000)
			fields := []string{"Upgrade: websocket", "Connection: Upgrade"}
			for range endlessHead / len(line) {
				fields = append(fields, line)
			}
			long := answering("many fields", false, fields...)
			one := answering("one long field", false, "Upgrade: websocket", "Connection: Upgrade", "X-Trb-Padding: "+strings.Repeat("x", endlessHead))
			return refuses(ctx, t, true, met(long), met(one))
		},
	})
	clientCheck(conformance.Check{
		ID: "DET-03-C", Slug: "drip-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "A 101 that comes byte by byte is read as one that comes at once",
		Why: "TCP has no messages, and a load balancer may pass an answer on as it reads it. A client that takes one read for the whole answer works in the " +
			"laboratory and fails at random behind a slow hop.",
		Clauses: clauses(rfc(9112, "2.2")), Accept: goesOn, Forbid: mustCarry("a part of the answer was taken for the whole"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return getThrough(ctx, t, trial{"byte by byte", script{typ: wire.WebSocket, answer: honest, drip: true}},
				trial{"byte by byte, a ping behind it", script{typ: wire.WebSocket, answer: honest, drip: true, behind: [][]byte{wire.ServerPing([]byte("drip"))}}})
		},
	})
}

// answering is a server whose answer has these fields beside those of a WebSocket. With a status as its name it refuses with that.
func answering(name string, refuse bool, lines ...string) trial {
	status := "101 Switching Protocols"
	if refuse {
		status = name
	}
	return trial{name, script{typ: wire.WebSocket, head: func(req *wire.Request) (string, bool) {
		head := headOf(append(append([]string{"HTTP/1.1 " + status}, lines...), honest(req)...)...)
		if refuse {
			head += "no"
		}
		return head, refuse
	}}}
}

// preceded is an honest server that sends something first.
func preceded(name, before string) trial {
	return trial{name, script{typ: wire.WebSocket, head: func(req *wire.Request) (string, bool) {
		return before + switching(wire.WebSocket, honest(req)...), false
	}}}
}

// met is a trial in which the client need not wait for the end of the answer.
func met(t trial) trial {
	t.halfway = true
	return t
}
