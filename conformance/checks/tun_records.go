package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// movedOn is the outcome "a connection was carried on to another backend".
const movedOn conformance.Outcome = "moved"

// half is what goes through a tunnel of TUN-14 before the reload, and again behind it.
const half = 64 << 10

func init() {
	register := func(c conformance.Check) {
		c.Role, c.Level, c.Timeout = conformance.Router, conformance.Must, 30*time.Second
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "TUN-12", Slug: "opaque-records", Origin: conformance.RFC, Features: []string{"passthrough", "reload"}, Transports: everywhere,
		Title: "Behind the ClientHello a passed-through session is bytes: every record passes, whatever its type, length and version",
		Why: "A router that goes on reading TLS where it only passes it on breaks the day somebody sends a KeyUpdate, an empty record or a record type of " +
			"a new RFC. The two ends would have understood each other.",
		Clauses: clauses(rfc(9846, "9.3")), Setup: onItsOwn("opaque"), Control: opens("pass"), Run: opaqueRecords,
		Accept: pass("all arrives as it was sent, both ways", conformance.Intact),
		Forbid: map[conformance.Outcome]string{
			conformance.Corrupted: "records were changed", conformance.Truncated: "the session was cut at a record", conformance.FIN: "the session was ended at a record",
			conformance.Timeout: "records were held back",
		},
	})
	register(conformance.Check{
		ID: "TUN-14", Slug: "one-backend", Origin: conformance.Policy, Features: []string{"terminate", "reload"}, Transports: everywhere,
		Title: "A connection stays with the backend that it began with, also when a reload leads its route elsewhere",
		Why: "A session is state at one server. Bytes that are carried on to another one in the middle are garbage to it, or, worse, the tail of a " +
			"transaction that it takes for a whole.",
		Clauses: clauses(policy("section 5, reload and drain")), Setup: onItsOwn("one-backend"), Control: opens("a"), Run: oneBackend,
		Accept: pass("every byte is in the record of the first witness and none in that of another", conformance.Intact),
		Forbid: map[conformance.Outcome]string{movedOn: "another backend was given a part of the connection", conformance.Lost: "the first backend lacks a part of the connection"},
	})
}

// oddRecords are what TLS allows, what later documents may, and what only the two ends can judge.
func oddRecords(nonce string) []byte {
	ticket := wire.Handshake(4, bytes.Repeat([]byte{0x5a}, 200))
	return slices.Concat(
		wire.Record(20, 0x0303, []byte{1}),                                         // change_cipher_spec
		wire.Record(23, 0x0303, nil),                                               // empty
		wire.Record(23, 0x0303, nil),                                               // and again
		wire.Record(22, 0x0303, wire.Handshake(24, []byte{1})),                     // KeyUpdate
		wire.Record(22, 0x0303, ticket),                                            // NewSessionTicket
		wire.Record(22, 0x0303, nil),                                               // an empty fragment
		wire.Record(24, 0x0303, []byte{1, 0, 3, 'a', 'b', 'c'}),                    // heartbeat
		wire.Record(99, 0x0303, []byte("a type of nobody's")),                      // unknown
		wire.Record(23, 0x0304, []byte("another version")),                         //
		wire.Record(23, 0x0303, patterned(nonce, wire.MaxFragment+256)),            // as long as there is
		wire.Record(21, 0x0303, []byte{1, 90}), wire.Record(21, 0x0303, []byte{1}), // a warning, and half an alert
		wire.Record(21, 0x0303, []byte{1, 0}), wire.Record(23, 0x0303, []byte("behind close_notify")),
		[]byte("and no record at all"),
	)
}

// opaqueRecords leads the passthrough route to a listener of the check's own and plays both ends.
func opaqueRecords(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	ln, err := t.Listen(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	doc := t.Instance.Document
	doc.Routes = slices.Clone(doc.Routes)
	for i := range doc.Routes {
		if doc.Routes[i].Name == "pass" {
			doc.Routes[i].Backend.Address = ln.Addr().String()
		}
	}
	if err := t.Instance.Reload(ctx, doc); err != nil {
		return conformance.Observation{}, err
	}
	client, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	hello := slices.Concat(wire.Records(wire.NewHello(wire.HelloOptions{SNI: t.Name("pass")}))...) // in one record: DET-04 is about more
	if err := bounded(t, client, hello); err != nil {
		return conformance.Observation{}, err
	}
	server, err := acceptedBy(ctx, t, ln)
	if err != nil {
		return conformance.Observation{}, err
	}
	odd := oddRecords(t.Nonce)
	for _, step := range []struct {
		name     string
		from, to net.Conn
		data     []byte
		sent     bool
	}{
		{"the ClientHello", client, server, hello, true},
		{"records to the server", client, server, odd, false},
		{"records to the client", server, client, odd, false},
	} {
		if o := sameBytes(t, step.from, step.to, step.data, step.sent); o.Outcome != conformance.Intact {
			o.Detail = step.name + ": " + o.Detail
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("a ClientHello and %d bytes of records each way", len(odd))}, nil
}

func acceptedBy(ctx context.Context, t *conformance.T, ln net.Listener) (net.Conn, error) {
	if tcp, ok := ln.(interface{ SetDeadline(time.Time) error }); ok {
		if err := tcp.SetDeadline(deadline(t)); err != nil {
			return nil, err
		}
	}
	c, err := ln.Accept()
	if err != nil {
		return nil, fmt.Errorf("waiting for the router to dial the backend: %w", err)
	}
	return t.Adopt(ctx, c, "backend")
}

// sameBytes writes data at one end, unless that is done, and compares what comes at the other.
func sameBytes(t *conformance.T, from, to net.Conn, data []byte, sent bool) conformance.Observation {
	within(t, from)
	within(t, to)
	written := make(chan error, 1)
	go func() {
		var err error
		if !sent {
			_, err = from.Write(data)
		}
		written <- err
	}()
	got := make([]byte, len(data))
	n, err := io.ReadFull(to, got)
	if err != nil {
		_ = from.SetWriteDeadline(time.Now()) // lets the writer go
	}
	werr := <-written
	switch at := firstDifference(got[:n], data); {
	case at < n:
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("byte %d of %d is %#02x, not %#02x", at, len(data), got[at], data[at])}
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("%d of %d bytes, then %v", n, len(data), err)}
	case werr != nil:
		return conformance.Observation{Outcome: t.Outcome(werr), Detail: "sending: " + werr.Error()}
	}
	return conformance.Observation{Outcome: conformance.Intact}
}

// oneBackend has tunnels carry bytes before and behind a reload that exchanges the backends of their route and another.
func oneBackend(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const n = 8
	first, other := witnessOf(t, "a"), witnessOf(t, "b")
	var list []*tlsConn
	var nonces []string
	for range n {
		conn, nonce, err := ordered(ctx, t, "a", witness.Order{Do: witness.Echo})
		if err != nil {
			return conformance.Observation{}, err
		}
		list, nonces = append(list, conn), append(nonces, nonce)
	}
	carry := func(when string, from int) (conformance.Observation, bool) {
		for i, conn := range list {
			if o := sameBytes(t, conn, conn, patterned(nonces[i], 2*half)[from:from+half], false); o.Outcome != conformance.Intact {
				o.Detail = fmt.Sprintf("tunnel %d, %s: %s", i+1, when, o.Detail)
				return o, false
			}
		}
		return conformance.Observation{}, true
	}
	if o, ok := carry("before the reload", 0); !ok {
		return o, nil
	}
	if err := t.Instance.Reload(ctx, exchanged(t.Instance.Document)); err != nil {
		return conformance.Observation{}, err
	}
	conn, err := t.Open(ctx, "a")
	if err != nil {
		return conformance.Observation{}, err
	}
	if o, _ := t.Served(ctx, conn, other); o.Outcome != conformance.Routed {
		return conformance.Observation{}, errors.New("the reload has not led the route elsewhere: OPS-02 is about that")
	}
	if o, ok := carry("behind the reload", half); !ok {
		return o, nil
	}
	for i, conn := range list {
		if err := wire.CloseWrite(conn); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
		}
		if list := t.Target.Witnesses[other].Find(nonces[i]); len(list) > 0 {
			return conformance.Observation{Outcome: movedOn, Detail: fmt.Sprintf("tunnel %d, begun at %s: %s has %d bytes of it", i+1, first, other, list[0].In)}, nil
		}
		if o := arrived(ctx, t, "a", nonces[i], patterned(nonces[i], 2*half)); o.Outcome != conformance.Intact {
			o.Detail = fmt.Sprintf("tunnel %d at %s: %s", i+1, first, o.Detail)
			return o, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d tunnels, %d KiB before and behind the reload, all at %s", n, half>>10, first)}, nil
}
