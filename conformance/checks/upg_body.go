package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of upgrade requests that have content.
const (
	behindBody   conformance.Outcome = "tunnel-behind-body"
	bodyInTunnel conformance.Outcome = "body-in-tunnel"   // the content was taken for bytes of the tunnel
	hundred      conformance.Outcome = "100-then-101"     // in this order
	unannounced  conformance.Outcome = "101-without-100"  // the client had not been told to send its content
	hundredLate  conformance.Outcome = "100-behind-101"   // so that it is in the tunnel
	bodyLost     conformance.Outcome = "tunnel-swallowed" // bytes of the tunnel were taken for content
)

func init() {
	body := func(c conformance.Check) {
		c.Level, c.Origin, c.Role, c.Transports, c.Tags = conformance.Must, conformance.RFC, conformance.Router, upgraded, rawHTTP
		c.Features, c.Control = []string{"upgrade", "websocket"}, opens("a")
		c.Forbid[conformance.Timeout] = "neither switched nor refused: the client hangs"
		conformance.Register(c)
	}
	body(conformance.Check{
		ID: "UPG-07", Slug: "expect-100",
		Title: "An upgrade request that expects 100 (Continue) is told so before it gets its 101",
		Why: "A client that waits for the go-ahead has not sent its content when the 101 comes. If the server switches without it, the content is the first " +
			"that arrives in the tunnel.",
		Clauses: clauses(rfc(9110, "7.8"), rfc(9110, "10.1.1")),
		Accept:  append(pass("100, then 101", hundred), pass("the upgrade was refused or ignored, which a server may", refused4xx, notSwitched)...),
		Forbid:  map[conformance.Outcome]string{unannounced: "101 without the 100 that must come before", hundredLate: "the 100 came behind the 101"},
		Run:     expects100,
	})
	body(conformance.Check{
		ID: "UPG-08", Slug: "body-then-switch",
		Title: "The content of an upgrade request is read before the protocol is switched",
		Why: "The tunnel begins behind the request, content included. A server that switches at the end of the header reads the content as frames: at best " +
			"the connection fails, at worst the content was made to be read so.",
		Clauses: clauses(rfc(9110, "7.8"), rfc(9112, "6.3")),
		Accept:  append(pass("the tunnel begins behind the content", behindBody), pass("the upgrade was refused or ignored, which a server may", refused4xx, notSwitched)...),
		Forbid: map[conformance.Outcome]string{
			bodyInTunnel: "the content was read as the tunnel's first bytes", bodyLost: "the tunnel's first bytes were read as content",
			conformance.FIN: "switched, and the connection ended over the content", conformance.RST: "switched, and the connection ended over the content",
		},
		Run: bodyThenSwitch,
	})
}

// socketWith is a websocket request with more field lines.
func socketWith(t *conformance.T, lines ...string) string {
	return request(t, slices.Concat([]string{"Connection: Upgrade", "Upgrade: websocket"}, webSocketFields, lines)...)
}

func expects100(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const content = "content of the request"
	resp, rest, err := exchange(ctx, t, socketWith(t, "Expect: 100-continue", fmt.Sprintf("Content-Length: %d", len(content))))
	if trouble, ok := errors.AsType[*harnessError](err); ok {
		return conformance.Observation{}, trouble
	}
	if err != nil {
		return answeredWith(t, resp, err), nil
	}
	if resp.Status == 101 {
		return afterEarly101(t, rest), nil
	}
	if resp.Status != 100 {
		return answeredWith(t, resp, nil), nil
	}
	if err := bounded(t, rest, []byte(content)); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "sending the content: " + err.Error()}, nil
	}
	resp, _, err = wire.ReadResponse(rest)
	o := answeredWith(t, resp, err)
	if o.Outcome == switched {
		o.Outcome = hundred
	}
	return o, nil
}

// afterEarly101 looks whether a 100 comes behind the 101: it would be the first that the client reads in the tunnel.
func afterEarly101(t *conformance.T, rest net.Conn) conformance.Observation {
	_ = rest.SetReadDeadline(time.Now().Add(t.Silence())) // an error shows in the read
	if late, _, err := wire.ReadResponse(rest); err == nil && late.Status == 100 {
		return conformance.Observation{Outcome: hundredLate, Detail: "101, then 100"}
	}
	return conformance.Observation{Outcome: unannounced, Detail: "101 and no 100"}
}

// bodyThenSwitch sends header, content and a ping for the tunnel in one write. The content is a ping too, so that whoever takes it for
// the tunnel's answers it.
func bodyThenSwitch(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	inBody, inTunnel := "body "+t.Nonce, "tunnel "+t.Nonce
	content := wire.Frame{Op: wire.OpPing, Payload: []byte(inBody)}.Bytes()
	chunks := append(fmt.Appendf(nil, "%x\r\n%s\r\n", 5, content[:5]), fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(content)-5, content[5:])...)
	var seen []conformance.Observation
	for _, v := range []struct {
		name, line string
		content    []byte
	}{
		{"Content-Length", fmt.Sprintf("Content-Length: %d", len(content)), content},
		{"chunked", "Transfer-Encoding: chunked", chunks},
	} {
		raw := slices.Concat([]byte(socketWith(t, v.line)), v.content, wire.Frame{Op: wire.OpPing, Payload: []byte(inTunnel)}.Bytes())
		resp, rest, err := exchange(ctx, t, string(raw))
		if trouble, ok := errors.AsType[*harnessError](err); ok {
			return conformance.Observation{}, trouble
		}
		o := answeredWith(t, resp, err)
		if o.Outcome == switched {
			o = firstPong(t, rest, inBody, inTunnel)
		}
		o.Detail = v.name + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

func firstPong(t *conformance.T, rest net.Conn, inBody, inTunnel string) conformance.Observation {
	c := wire.NewWSClient(rest)
	within(t, c)
	for {
		err := c.Next()
		switch got := c.Pongs(); {
		case slices.Contains(got, inBody):
			return conformance.Observation{Outcome: bodyInTunnel, Detail: "a ping in the content was answered"}
		case slices.Contains(got, inTunnel):
			return conformance.Observation{Outcome: behindBody, Detail: "the ping behind the content was answered"}
		}
		if closed, ok := errors.AsType[*wire.CloseError](err); ok && closed.Code < 1002 {
			return conformance.Observation{Outcome: bodyLost, Detail: fmt.Sprintf("switched, and closed with %d without an answer to the ping behind the content", closed.Code)}
		} else if ok {
			return conformance.Observation{Outcome: bodyInTunnel, Detail: fmt.Sprintf("close frame %d in answer to what is no frame", closed.Code)}
		}
		if out := t.Outcome(err); out == conformance.Timeout {
			return conformance.Observation{Outcome: bodyLost, Detail: "switched, and the ping behind the content was not answered"}
		} else if err != nil {
			return conformance.Observation{Outcome: out, Detail: err.Error()}
		}
	}
}
