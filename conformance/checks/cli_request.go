package checks

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of looking at what a client sends.
const (
	asItMust     conformance.Outcome = "as-it-must"
	badRequest   conformance.Outcome = "bad-request"    // the request is not one for a WebSocket
	sameKey      conformance.Outcome = "same-key"       // of two connections
	sameMask     conformance.Outcome = "same-mask"      // of every frame
	wantsDeflate conformance.Outcome = "offers-deflate" // an extension that costs and gains nothing
)

func init() {
	clientCheck(conformance.Check{
		ID: "UPG-15-C", Slug: "ws-request-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "The request for a WebSocket is the one that RFC 6455 describes, with a new key each time",
		Why: "Servers differ in what they let pass. A client that leaves out the version, or asks with the same key for ever, works with one of them, is " +
			"refused by the next, and takes a cached answer for its own.",
		Clauses: clauses(rfc(6455, "4.1")), Accept: pass("GET, HTTP/1.1, Host, both upgrade fields, version 13 and a new key of 16 bytes", asItMust),
		Forbid: map[conformance.Outcome]string{badRequest: "the request is not one for a WebSocket", sameKey: "two connections have one key"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			requests, err := requestsOf(ctx, t, 2)
			if err != nil {
				return conformance.Observation{}, err
			}
			for _, req := range requests {
				if fault := notWebSocket(req); fault != "" {
					return conformance.Observation{Outcome: badRequest, Detail: fmt.Sprintf("%s: %q", fault, req.Raw)}, nil
				}
			}
			if key := requests[0].Header.Get("Sec-Websocket-Key"); key == requests[1].Header.Get("Sec-Websocket-Key") {
				return conformance.Observation{Outcome: sameKey, Detail: key + " twice"}, nil
			}
			return conformance.Observation{Outcome: asItMust, Detail: fmt.Sprintf("%d requests", len(requests))}, nil
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-12-C", Slug: "no-deflate-client", Level: conformance.Should, Origin: conformance.Policy,
		Title: "permessage-deflate is not offered",
		Why: "Ciphertext does not compress. A server that agrees spends a window of 32 KiB on each tunnel and gains nothing, and one bit decides " +
			"whether the next hop can read the frames.",
		Clauses: clauses(policy("section 5, upgrade.types"), rfc(6455, "9.1")), Accept: pass("no extension", asItMust),
		Forbid: map[conformance.Outcome]string{wantsDeflate: "compression of what cannot be compressed was offered"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			requests, err := requestsOf(ctx, t, 1)
			if err != nil {
				return conformance.Observation{}, err
			}
			if got := requests[0].Header.Values("Sec-Websocket-Extensions"); strings.Contains(strings.Join(got, ","), "deflate") {
				return conformance.Observation{Outcome: wantsDeflate, Detail: fmt.Sprintf("%q", got)}, nil
			}
			return conformance.Observation{Outcome: asItMust}, nil
		},
	})
	clientCheck(conformance.Check{
		ID: "WSF-01-C", Slug: "masks-client", Level: conformance.Must, Origin: conformance.RFC,
		Title: "Every frame of the client is masked, each with a mask of its own",
		Why: "The mask keeps whoever chooses the payload from choosing the bytes on the wire. One mask for all frames, or one of zeros, is a constant that " +
			"anybody can undo in advance.",
		Clauses: clauses(rfc(6455, "5.1"), rfc(6455, "5.3")), Accept: pass("masked, and no two masks the same", asItMust),
		Forbid:  map[conformance.Outcome]string{sameMask: "several frames have one mask", unmaskedFrame: "a frame was not masked"},
		Control: func(ctx context.Context, t *conformance.T) error { return dialsTo(ctx, t, takesAnyMask) },
		Run:     clientMasks,
	})
}

// unmaskedFrame is the outcome "a frame without a mask came from a client".
const unmaskedFrame conformance.Outcome = "unmasked"

// requestsOf dials an honest server so many times and returns the requests.
func requestsOf(ctx context.Context, t *conformance.T, times int) ([]*wire.Request, error) {
	p, err := play(ctx, t, script{typ: wire.WebSocket, answer: honest})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	for range times {
		conn, err := p.dialled(ctx)
		if err != nil {
			return nil, err
		}
		_ = conn.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) < times {
		return nil, fmt.Errorf("%d requests came, not %d", len(p.requests), times)
	}
	return slices.Clone(p.requests[:times]), nil
}

// notWebSocket says what is missing in a request (RFC 6455 section 4.1, the numbered list), "" for nothing.
func notWebSocket(req *wire.Request) string {
	one := func(field, value string) bool {
		got := req.Header.Values(field)
		return len(got) == 1 && got[0] == value
	}
	key, err := base64.StdEncoding.DecodeString(req.Header.Get("Sec-Websocket-Key"))
	switch {
	case req.Method != "GET":
		return "not a GET"
	case req.Proto != "HTTP/1.1":
		return "not HTTP/1.1"
	case len(req.Header.Values("Host")) != 1:
		return "not one Host"
	case !wire.HasToken(req.Header, "Upgrade", wire.WebSocket):
		return "Upgrade does not name websocket"
	case !wire.HasToken(req.Header, "Connection", "upgrade"):
		return "Connection does not name Upgrade"
	case !one("Sec-Websocket-Version", "13"):
		return "not version 13"
	case err != nil, len(key) != 16, len(req.Header.Values("Sec-Websocket-Key")) != 1:
		return "not one key of 16 bytes"
	}
	return ""
}

// takesAnyMask is an honest server that takes frames without a mask, so that they can be counted.
var takesAnyMask = script{typ: wire.WebSocket, answer: honest, anyMask: true}

func clientMasks(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	p, err := play(ctx, t, takesAnyMask)
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := p.dialled(ctx)
	if conn != nil {
		_ = conn.Close()
	}
	p.stop()
	if err != nil {
		return conformance.Observation{}, err
	}
	frames, bare, masks := p.socket.Masks()
	o := conformance.Observation{Outcome: asItMust, Detail: fmt.Sprintf("%d frames, %d without a mask, %d masks", frames, bare, masks)}
	switch {
	case bare > 0:
		o.Outcome = unmaskedFrame
	case frames < 2:
		return o, fmt.Errorf("too few frames to compare: %s", o.Detail)
	case masks < frames:
		o.Outcome = sameMask
	}
	return o, nil
}
