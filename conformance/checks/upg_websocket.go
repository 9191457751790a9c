package checks

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of the opening handshake of RFC 6455.
const (
	noVersion   conformance.Outcome = "no-version-field" // refused for the version without saying which would do
	wrongAccept conformance.Outcome = "wrong-accept"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "UPG-15", Slug: "ws-request", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A websocket request that is not one is refused; a wrong version is told which would do",
		Why: "What passes for a WebSocket without key and version is a request that a proxy in front did not take for one. If the router " +
			"switches all the same, the two disagree about where HTTP ends, and requests are smuggled through the gap.",
		Clauses: clauses(rfc(6455, "4.2.1"), rfc(6455, "4.2.2"), rfc(6455, "4.4")), Transports: upgraded, Tags: rawHTTP,
		Features: []string{"upgrade", "websocket"}, Accept: append(pass("refused with a status of 400 to 499", refused4xx), tolerate("not switched, but without saying what was wrong", notSwitched, conformance.FIN, conformance.RST)...),
		Forbid: map[conformance.Outcome]string{
			switched:            "switched on a handshake that is not valid",
			conformance.Timeout: "neither switched nor refused: the client hangs",
			noVersion:           "a version that is not spoken must be answered with Sec-WebSocket-Version",
		},
		Control: opens("a"), Run: badHandshakes,
	})
	conformance.Register(conformance.Check{
		ID: "UPG-16", Slug: "ws-accept", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "Sec-WebSocket-Accept is the digest of the key that was sent",
		Why: "The digest proves that the answer is to this request and not from a cache or from a server that echoes. Clients that look at it " +
			"refuse a wrong one; those that do not are easily led into a tunnel with somebody else.",
		Clauses: clauses(rfc(6455, "4.2.2"), rfc(6455, "1.3")), Transports: upgraded, Tags: rawHTTP,
		Features: []string{"upgrade", "websocket"}, Accept: pass("101 with the right digest", switched),
		Forbid:  map[conformance.Outcome]string{wrongAccept: "the digest belongs to another key", refused4xx: "a good request was refused"},
		Control: opens("a"), Run: acceptDigest,
	})
}

func badHandshakes(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	base := []string{"Connection: Upgrade", "Upgrade: websocket"}
	key, version := "Sec-WebSocket-Key: "+wire.Key, "Sec-WebSocket-Version: 13"
	with := func(lines ...string) string { return request(t, append(append([]string{}, base...), lines...)...) }
	good := with(version, key)
	refusals := []offer{
		{"POST", strings.Replace(good, "GET ", "POST ", 1)},
		{"no key", with(version)},
		{"a key of 15 bytes", with(version, "Sec-WebSocket-Key: "+base64.StdEncoding.EncodeToString(make([]byte, 15)))},
		{"a key that is not base64", with(version, "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!!!")},
		{"two keys", with(version, key, "Sec-WebSocket-Key: "+sampleKey)},
		{"no version", with(key)},
	}
	o, err := offers(ctx, t, refusals...)
	if err != nil {
		return o, err
	}
	versions := []offer{
		{"version 8", with("Sec-WebSocket-Version: 8", key)},
		{"version 14", with("Sec-WebSocket-Version: 14", key)},
	}
	v, err := each(ctx, t, versions, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
		o := answeredWith(t, resp, err)
		if o.Outcome == refused4xx && !wire.HasToken(resp.Header, "Sec-WebSocket-Version", "13") {
			o.Outcome = noVersion
		}
		return o
	})
	return worst(t, []conformance.Observation{o, v}), err
}

// The vector of RFC 6455 section 1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func acceptDigest(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	rng := rand.New(rand.NewPCG(uint64(t.Seed), 16)) // repeatable on purpose
	want := map[string]string{sampleKey: sampleAccept}
	var list []offer
	add := func(key string) {
		list = append(list, offer{key, request(t, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+key)})
	}
	add(sampleKey)
	for range 3 {
		raw := make([]byte, 16)
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		key := base64.StdEncoding.EncodeToString(raw)
		want[key] = wire.AcceptFor(key)
		add(key)
	}
	var seen []conformance.Observation
	for _, of := range list {
		o, err := each(ctx, t, []offer{of}, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
			o := answeredWith(t, resp, err)
			if o.Outcome != switched {
				return o
			}
			if got := resp.Header.Values("Sec-WebSocket-Accept"); len(got) != 1 || got[0] != want[of.name] {
				return conformance.Observation{Outcome: wrongAccept, Detail: fmt.Sprintf("%q, not %q", got, want[of.name])}
			}
			o.Detail = "the digest is right"
			return o
		})
		if err != nil {
			return o, err
		}
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}
