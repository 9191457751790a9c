package checks

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func clauses(list ...result.Clause) []result.Clause { return list }

const dripPause = time.Millisecond // DET-03: a byte a millisecond, as the catalogue has it

func init() {
	misroute := map[conformance.Outcome]string{
		conformance.Misrouted: "part of a ClientHello was taken for the whole of it",
		conformance.Timeout:   "the router waited for a part it already had",
		conformance.Corrupted: "the backend did not get the bytes that the client sent",
	}
	conformance.Register(conformance.Check{
		ID: "DET-02", Slug: "ch-split-tcp", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ClientHello in two TCP segments routes the same, wherever it is cut",
		Why: "TCP gives no promise about segments, and with a post-quantum key share nearly every ClientHello needs two. A router that " +
			"decides on the first read sends such clients to the default route or drops them, a few in a thousand and never in the lab.",
		Clauses: clauses(rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed), Forbid: misroute, Timeout: 30 * time.Second,
		Control: opens("a"), Run: splitTCP,
	})
	conformance.Register(conformance.Check{
		ID: "DET-03", Slug: "ch-drip", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ClientHello that comes byte by byte routes within the detection budget",
		Why: "Slow links, tunnels and small-window proxies deliver a handshake in crumbs. A router that counts reads in place of bytes " +
			"and time gives up on clients who are merely slow.",
		Clauses: clauses(rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed), Forbid: misroute, Timeout: 30 * time.Second,
		Control: opens("a"),
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return drip(ctx, t)
		},
	})
	conformance.Register(conformance.Check{
		ID: "DET-04", Slug: "ch-split-records", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ClientHello fragmented over several TLS records routes the same",
		Why: "The record layer may cut a handshake message anywhere, and some clients do so to pass middleboxes. The most copied SNI " +
			"routers look at the first record only: they see no name, take the default route, and apply the wrong TLS policy.",
		Clauses: clauses(rfc(9846, "5.1"), cve("CVE-2026-32305")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed), Timeout: 30 * time.Second,
		Forbid: map[conformance.Outcome]string{
			conformance.Misrouted: "the first record was taken for the whole ClientHello",
			conformance.Corrupted: "the backend did not get the bytes that the client sent",
			conformance.Timeout:   "the router waited for a record it already had",
		},
		Control: opens("a"), Run: splitRecords,
	})
	conformance.Register(conformance.Check{
		ID: "DET-06", Slug: "ch-pq", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "A ClientHello with a post-quantum key share routes at any segment size",
		Why: "X25519MLKEM768 makes the ClientHello longer than a segment; browsers and Go send it by default. What cannot read it fails " +
			"for every updated client at once.",
		Clauses: clauses(rfc(9846, "4.3.8"), result.Clause{Doc: "tldr.fail", URL: "https://tldr.fail/"}), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed), Forbid: misroute, Timeout: 20 * time.Second,
		Control: opens("a"), Run: postQuantum,
	})
	conformance.Register(conformance.Check{
		ID: "DET-08", Slug: "record-version", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "The version in the header of the first record is ignored",
		Why: "The field is a fossil that must be ignored for all purposes. Old stacks write SSL 3.0 there, and a router that insists on a " +
			"value turns them away.",
		Clauses: clauses(rfc(9846, "5.1")), Transports: everywhere, Features: []string{"terminate"},
		Accept: pass(byWitness, conformance.Routed), Forbid: misroute,
		Control: opens("a"), Run: recordVersion,
	})
	conformance.Register(conformance.Check{
		ID: "DET-14", Slug: "replay-exact", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "What was peeked reaches a passed-through backend exactly once, unmodified",
		Why: "A byte lost, doubled or rewritten between peek and replay breaks the handshake's transcript: every connection fails with an " +
			"alert that points at the wrong party. Re-framed records hide in plain sight until something compares them.",
		Clauses: clauses(rfc(9846, "9.3")), Transports: everywhere, Features: []string{"passthrough"},
		Accept:  pass("the witness has the SHA-256 of the very bytes that were sent", conformance.Intact),
		Forbid:  map[conformance.Outcome]string{conformance.Corrupted: "an intermediary must forward what it does not terminate unmodified"},
		Control: opens("pass"), Run: replayExact,
	})
}

// small makes a ClientHello of some 300 bytes by leaving out the post-quantum share; postQ has it, beside one that every server knows.
func small(cfg *tls.Config) { cfg.CurvePreferences = []tls.CurveID{tls.X25519} }
func postQ(cfg *tls.Config) { cfg.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519} }

// through opens a route with a ClientHello that a plan has cut to pieces. On a passed-through route the witness's hash of the
// raw bytes has to be that of what was sent.
func through(ctx context.Context, t *conformance.T, route string, shape func(*tls.Config), pause time.Duration, plan func([]byte) [][]byte) (conformance.Observation, error) {
	cfg, err := t.Config(route)
	if err != nil {
		return conformance.Observation{}, err
	}
	if shape != nil {
		shape(cfg)
	}
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer stream.Close()
	split := wire.NewSplitConn(stream, pause, plan)
	budget := cmp.Or(t.Target.HelloTimeout, t.Wait())
	split.Within(budget / 3) // a far path makes for long pauses, and some plans for many of them
	conn, err := t.TLS(ctx, split, cfg)
	if err != nil && split.Took() > budget/2 {
		return conformance.Observation{}, fmt.Errorf("the machine is too busy: sending the pieces took %v, and there are only %v for it: %w", split.Took(), budget, err)
	}
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "handshake: " + err.Error()}, nil
	}
	o, rec := t.Served(ctx, conn, witnessOf(t, route))
	if o.Outcome == conformance.Routed && route == "pass" {
		return unchanged(split.Sent(), rec), nil
	}
	return o, nil
}

func drip(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	size := 0
	o, err := through(ctx, t, "a", small, dripPause, func(raw []byte) [][]byte {
		size = len(raw)
		return wire.Drip(1)(raw)
	})
	o.Detail = fmt.Sprintf("%d bytes, one every %v: %s", size, dripPause, o.Detail)
	return o, err
}

// unchanged compares what was sent with what a passthrough witness saw.
func unchanged(sent []byte, rec witness.Record) conformance.Observation {
	sum := sha256.Sum256(sent)
	want := hex.EncodeToString(sum[:])
	switch {
	case rec.TLS == nil:
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: "the witness was not spoken to in TLS"}
	case rec.TLS.RawSHA256 != want:
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("sent %d bytes with SHA-256 %s, the witness saw %s", len(sent), want, rec.TLS.RawSHA256)}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("%d bytes, SHA-256 %s on both sides", len(sent), want[:16])}
}

// routes that splitting checks go to: terminated, and passed through where the target can.
func splitRoutes(t *conformance.T) []string {
	if has(t, "passthrough") {
		return []string{"a", "pass"}
	}
	return []string{"a"}
}

func splitTCP(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	count := 0
	for _, route := range splitRoutes(t) {
		for i, size := 0, 1; i < size; i++ {
			at := 0
			o, err := through(ctx, t, route, nil, t.Gap(), func(raw []byte) [][]byte {
				list := offsets(raw, t.Transport == conformance.Upgraded)
				at, size = list[i], len(list)
				return wire.Cut(at)(raw)
			})
			if err != nil || o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("route %s, cut behind byte %d: %s", route, at, o.Detail)
				return o, err
			}
			count++
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("%d cuts", count)}, nil
}

// offsets are where to cut: all of the two headers and of the version, around the beginning and the end of the extensions that
// decide, the last bytes, and a stride over the rest. Every offset of a 1500-byte hello would be three thousand handshakes.
func offsets(raw []byte, few bool) []int {
	var list []int
	span := func(from, to int) {
		for i := max(1, from); i <= min(to, len(raw)-1); i++ {
			list = append(list, i)
		}
	}
	stride := max(1, len(raw)/24)
	span(1, 12)
	hello, _, err := wire.ParseHello(raw)
	names := append([]string{hello.SNI}, hello.ALPN...)
	for _, name := range names {
		at := bytes.Index(raw, []byte(name))
		if err != nil || at < 0 || name == "" {
			continue
		}
		if few {
			span(at+len(name)/2, at+len(name)/2)
			continue
		}
		span(at-2, at+1)
		span(at+len(name)-1, at+len(name)+1)
	}
	if few {
		stride = max(1, len(raw)/8)
	}
	for i := stride; i < len(raw); i += stride {
		list = append(list, i)
	}
	span(len(raw)-2, len(raw)-1)
	slices.Sort(list)
	return slices.Compact(list)
}

func splitRecords(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	type shape struct {
		name  string
		small bool
		plan  func([]byte) [][]byte
	}
	var shapes []shape
	for _, n := range []int{2, 3, 9, 64} {
		shapes = append(shapes, shape{fmt.Sprintf("%d records", n), false, func(raw []byte) [][]byte {
			return wire.Fragment(n%2 == 1, (len(raw)-5+n-1)/n)(raw)
		}})
	}
	shapes = append(shapes,
		shape{"records of 1 byte", true, wire.Fragment(true, 1)},
		shape{"handshake header in two records", false, wire.Fragment(false, 2, wire.MaxFragment)},
		shape{"handshake header alone", false, wire.Fragment(true, 4, wire.MaxFragment)},
		shape{"first byte alone", false, wire.Fragment(false, 1, wire.MaxFragment)},
	)
	for _, route := range splitRoutes(t) {
		for _, s := range shapes {
			var config func(*tls.Config)
			if s.small {
				config = small
			}
			o, err := through(ctx, t, route, config, t.Gap(), s.plan)
			if err != nil || o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("route %s, %s: %s", route, s.name, o.Detail)
				return o, err
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("%d shapes on routes %v", len(shapes), splitRoutes(t))}, nil
}

func postQuantum(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	size := 0
	for _, route := range splitRoutes(t) {
		for _, mss := range []int{536, 1220, 1460} {
			o, err := through(ctx, t, route, postQ, t.Gap(), func(raw []byte) [][]byte {
				size = len(raw)
				return wire.Drip(mss)(raw)
			})
			if size <= 1208 && err == nil { // the share alone has 1216 bytes
				return o, fmt.Errorf("the ClientHello has only %d bytes: no post-quantum share was sent", size)
			}
			if err != nil || o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("route %s, segments of %d: %s", route, mss, o.Detail)
				return o, err
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("%d bytes in segments of 536, 1220 and 1460", size)}, nil
}

func recordVersion(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	for _, route := range splitRoutes(t) {
		for _, version := range []uint16{0x0300, 0x0301, 0x0303, 0x03ff} {
			o, err := through(ctx, t, route, nil, 0, wire.Version(version))
			if err != nil || o.Outcome != conformance.Routed {
				o.Detail = fmt.Sprintf("route %s, version %#04x: %s", route, version, o.Detail)
				return o, err
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: "0x0300, 0x0301, 0x0303 and 0x03ff"}, nil
}

func replayExact(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	plans := []struct {
		name string
		plan func([]byte) [][]byte
	}{
		{"as it comes", wire.Cut(0)}, {"two segments", wire.Cut(700)}, {"records of 400 bytes", wire.Fragment(true, 400)}, {"another record version", wire.Version(0x0303)},
	}
	for _, p := range plans {
		o, err := through(ctx, t, "pass", nil, t.Gap(), p.plan)
		if err != nil || o.Outcome != conformance.Routed {
			o.Detail = p.name + ": " + o.Detail
			return o, err
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d shapes, the SHA-256 of the raw bytes equal on both sides", len(plans))}, nil
}
