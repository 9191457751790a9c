package checks

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of early data.
const (
	retried       conformance.Outcome = "retried"
	earlyAccepted conformance.Outcome = "early-data-accepted"
)

const lookAgain = 5 * time.Millisecond // at a witness's log

func init() {
	conformance.Register(conformance.Check{
		ID: "TLS-25", Slug: "early-data", Level: conformance.Must, Origin: conformance.RFC, Role: conformance.Router,
		Title: "0-RTT data for a session that is not known is passed over, and the handshake goes on without it",
		Why: "Tickets outlive the servers that gave them: behind a change of keys, or of the product, clients come with early data for sessions " +
			"that are gone. A router that ends their handshake locks them out until the ticket is forgotten; one that passes the data on serves garbage.",
		// What is built on crypto/tls cannot claim early-data: it ends the handshake with unsupported_extension, and says so in its source.
		Clauses: clauses(rfc(9846, "4.3.10"), rfc(9846, "4.3.11")), Transports: everywhere, Features: []string{"terminate", "early-data"},
		Accept: slices.Concat(pass("ignored: the 1-RTT handshake completes, and no early byte reaches the backend", ignoredECH),
			pass("a HelloRetryRequest, and the same behind the second ClientHello", retried)),
		Forbid: map[conformance.Outcome]string{
			conformance.Alert(110): "refused in place of ignored", conformance.Alert(20): "early data was taken for a record of the handshake",
			earlyAccepted: "accepted for a session that nobody knows", conformance.Dialled: "more than one connection was made to a backend",
			conformance.Misrouted: "another witness answered", conformance.Timeout: "neither ignored nor refused, or the backend was given the early bytes",
		},
		Control: crafted(wire.HelloOptions{}), Run: earlyIgnored,
	})
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

func earlyIgnored(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	msg, key, err := wire.HelloTLS13(earlyHello(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}}))
	if err != nil {
		return conformance.Observation{}, err
	}
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	if err := bounded(t, stream, slices.Concat(wire.Records(msg)[0], slices.Concat(earlyRecords(t.Nonce)...))); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	outcome := ignoredECH
	s, err := wire.Connect(stream, msg, key)
	if again, ok := errors.AsType[*wire.RetryError](err); ok {
		outcome = retried
		s, err = withoutEarly(t, stream, again.Retry, msg, key)
	}
	switch {
	case err != nil:
		return broken(t, err), nil
	case slices.Contains(s.EncryptedExtensions, wire.ExtEarlyData):
		return conformance.Observation{Outcome: earlyAccepted, Detail: "EncryptedExtensions carry early_data"}, nil
	}
	o, rec := t.Served(ctx, s, witnessOf(t, "a"))
	if o.Outcome != conformance.Routed {
		return o, nil
	}
	if n := t.Accepted() - before; n != 1 {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: fmt.Sprintf("%d connections to witnesses for one client", n)}, nil
	}
	return conformance.Observation{Outcome: outcome, Detail: fmt.Sprintf("ALPN %q, witness %s, %d bytes before its order", s.ALPN, rec.Witness, rec.In)}, nil
}

// withoutEarly goes on behind a HelloRetryRequest: RFC 9846 section 4.2.2 has the second hello without early data.
func withoutEarly(t *conformance.T, stream net.Conn, retry wire.Retry, first []byte, key *ecdh.PrivateKey) (*wire.Session, error) {
	second, err := retry.Again(first, key)
	if err != nil {
		return nil, err
	}
	second, err = wire.Edit(second, func(list []wire.Extension) []wire.Extension {
		return wire.Set(wire.Set(list, wire.Extension{Type: wire.ExtEarlyData}), wire.Extension{Type: wire.ExtPreSharedKey})
	})
	if err != nil {
		return nil, err
	}
	if err := bounded(t, stream, wire.Record(22, 0x0303, second)); err != nil {
		return nil, err
	}
	return retry.Connect(stream, first, second, key)
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
	rec, ok := unnamedRecord(ctx, t, witnessOf(t, "pass"), name)
	switch {
	case !ok:
		return conformance.Observation{Outcome: conformance.Lost, Detail: "the witness has no record of a hello for " + name}, nil
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
func unnamedRecord(ctx context.Context, t *conformance.T, name, sni string) (witness.Record, bool) {
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		for _, rec := range t.Target.Witnesses[name].Find("") {
			if rec.TLS != nil && rec.TLS.SNI == sni && rec.Finished {
				return rec, true
			}
		}
		select {
		case <-ctx.Done():
			return witness.Record{}, false
		case <-tick.C:
		}
	}
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
