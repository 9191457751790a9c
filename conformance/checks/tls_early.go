package checks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const lookAgain = 5 * time.Millisecond // at a witness's log

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-26", Slug: "early-pass", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "On a passed-through route the records behind the ClientHello arrive in their order, unchanged",
		Why: "A client with 0-RTT sends its request together with the hello. A router that reads the hello through a buffer and forgets the rest " +
			"of the buffer works with every other client, and loses the first request of this one.",
		Clauses: clauses(rfc(9846, "9.3"), rfc(9846, "4.3.10")), Transports: everywhere, Features: []string{"passthrough"},
		Accept: pass("count and hash of what the witness got behind the hello are those of what was sent", conformance.Intact),
		Forbid: map[conformance.Outcome]string{
			conformance.Lost: "bytes behind the ClientHello are missing", conformance.Corrupted: "the bytes differ, or their order",
		},
		Control: opens("pass"), Run: earlyPasses,
	})
}

// earlyHello is a hello that offers a session which no server knows, and early data for it.
func earlyHello(o wire.HelloOptions) wire.HelloOptions {
	identity := append(wire.Vec(2, []byte("a ticket of another server, 32 by")), 0, 0, 0, 0)
	psk := append(wire.Vec(2, identity), wire.Vec(2, wire.Vec(1, make([]byte, 32)))...)
	o.Last = append(o.Last,
		wire.Extension{Type: wire.ExtPSKModes, Body: []byte{1, 1}}, wire.Extension{Type: wire.ExtEarlyData, Body: []byte{}},
		wire.Extension{Type: wire.ExtPreSharedKey, Body: psk}) // the last of all: RFC 9846 section 4.3.11
	return o
}

// earlyRecords are a change_cipher_spec and three records of application data that nobody can decrypt.
func earlyRecords(nonce string) [][]byte {
	data := make([]byte, 16<<10)
	_, _ = io.ReadFull(witness.Pattern(nonce), data) // never fails
	return [][]byte{
		wire.Record(20, 0x0303, []byte{1}), wire.Record(23, 0x0303, data[:700]), wire.Record(23, 0x0303, data[700:733]), wire.Record(23, 0x0303, data),
	}
}

// earlyPasses needs no witness that takes early data: the one here refuses the handshake, and records what came behind the hello.
func earlyPasses(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	nonce := t.NewNonce()
	name := nonce + "." + t.Name("pass")
	msg, _, err := wire.HelloTLS13(earlyHello(wire.HelloOptions{SNI: name, ALPN: []string{"trb-pass"}}))
	if err != nil {
		return conformance.Observation{}, err
	}
	hello, behind := wire.Records(msg)[0], slices.Concat(earlyRecords(nonce)...)
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	if err := bounded(t, stream, slices.Concat(hello, behind)); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	if _, err := wire.ReadAnswer(stream); !strings.HasPrefix(string(t.Outcome(err)), "alert:") {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("the witness refuses such a hello, but its alert did not come: %v", err)}, nil
	}
	if err := wire.CloseWrite(stream); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	rec, err := unnamedRecord(ctx, t, witnessOf(t, "pass"), name)
	switch {
	case err != nil:
		return conformance.Observation{Outcome: conformance.Lost, Detail: err.Error()}, nil
	case rec.TLS.RawSHA256 != hashOf(hello):
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: "the ClientHello itself is not the one that was sent"}, nil
	case rec.In < int64(len(behind)):
		return conformance.Observation{Outcome: conformance.Lost, Detail: fmt.Sprintf("%d of %d bytes behind the ClientHello came", rec.In, len(behind))}, nil
	case rec.In > int64(len(behind)), rec.SHA256 != hashOf(behind):
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("%d bytes came where %d were sent", rec.In, len(behind))}, nil
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d bytes in four records behind the ClientHello", len(behind))}, nil
}

// unnamedRecord waits for the record of a connection that came to no order, by the name in its hello.
func unnamedRecord(ctx context.Context, t *conformance.T, name, sni string) (witness.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		for _, rec := range t.Target.Witnesses[name].Find("") {
			if rec.TLS != nil && rec.TLS.SNI == sni && rec.Finished {
				return rec, nil
			}
		}
		select {
		case <-ctx.Done():
			return witness.Record{}, fmt.Errorf("witness %s has no record of a hello for %s: %w", name, sni, ctx.Err())
		case <-tick.C:
		}
	}
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
