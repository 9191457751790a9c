package checks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// allOfIt is what the checks accept that count bytes. HAProxy 2.6 was seen to end so once, on a busy machine.
var allOfIt = slices.Concat(pass(whole, conformance.Intact), tolerate("every byte arrives, and a FIN without close_notify, which TLS itself calls an abort", conformance.FIN))

// unbounded is the outcome "the writer was never stopped".
const unbounded conformance.Outcome = "unbounded"

const (
	bulk       = 4 << 20  // of the checks that move bytes: many times any buffer of a router
	lastBytes  = 8 << 20  // of TUN-08, as the catalogue has it
	queueBound = 64 << 20 // TUN-09: kernel buffers of three hops that have grown as far as they do, and no more
	quietFor   = 400 * time.Millisecond
	reversed   = 256 << 10 // TUN-08: what is pending the other way
)

func init() {
	tun := func(c conformance.Check) {
		c.Role = conformance.Router
		if c.Transports == nil {
			c.Transports = everywhere
		}
		if c.Control == nil {
			c.Control = opens("a")
		}
		c.Features = append([]string{"terminate"}, c.Features...)
		conformance.Register(c)
	}
	bad := map[conformance.Outcome]string{
		conformance.Corrupted: "the bytes are not those that were sent",
		conformance.Lost:      "bytes are missing though the connection ended as if all was well",
		conformance.Truncated: "the connection ended before all was there",
	}
	tun(conformance.Check{
		ID: "TUN-01", Slug: "byte-exact", Level: conformance.Must, Origin: conformance.RFC,
		Title: "Both directions of a tunnel carry every byte, whatever the size of the pieces",
		Why: "A tunnel that loses, doubles or swaps a byte once in a million shows as a failing backup, a corrupt upload or a decryption error " +
			"that nobody can reproduce. Pieces of one byte and of many records are where copies with a reused buffer go wrong.",
		Clauses: clauses(rfc(9846, "9.3")), Accept: allOfIt, Forbid: bad, Run: byteExact, Timeout: 30 * time.Second,
	})
	tun(conformance.Check{
		ID: "TUN-02", Slug: "after-request", Level: conformance.Must, Origin: conformance.Policy, Transports: upgraded, Tags: rawHTTP,
		Title: "Tunnel bytes sent right behind the upgrade request are not lost",
		Why: "A client may save a round trip and send its ClientHello with the upgrade request; a proxy may join the two. They land in the " +
			"buffer of the HTTP parser, and a router that takes the socket from the parser forgets the buffer: the handshake hangs for ever, sometimes.",
		Clauses: clauses(policy("section 8, what the HTTP reader had buffered is flushed first")), Features: []string{"upgrade"},
		Accept: pass(byWitness, conformance.Routed), Run: afterRequest,
		Forbid: map[conformance.Outcome]string{
			conformance.Timeout: "the bytes behind the request are lost: the router waits for a ClientHello that it was sent",
			conformance.FIN:     "the bytes behind the request are lost: the router gave up waiting for a ClientHello that it was sent",
		},
	})
	tun(conformance.Check{
		ID: "TUN-08", Slug: "last-bytes", Level: conformance.Must, Origin: conformance.Policy,
		Title: "Everything sent before the end arrives, also while the other direction is full",
		Why: "The last bytes of a stream are still in somebody's buffer when its end is seen. A tunnel that closes on the end, and not behind the " +
			"last byte, cuts off the tail of a dump or a download, more often the slower the reader is.",
		Clauses: clauses(policy("section 8, half-close crosses as half-close"), rfc(9293, "3.6")), Accept: allOfIt, Forbid: bad, Run: lastOnes, Timeout: 30 * time.Second,
	})
	tun(conformance.Check{
		ID: "TUN-09", Slug: "backpressure", Level: conformance.Must, Origin: conformance.Policy,
		Title: "A reader that stops stops the writer, in both directions, and what has waited then arrives",
		Why: "A tunnel that reads on while nobody takes the bytes keeps them in memory. One slow client with one fast query is then enough to end " +
			"the process, and everybody's tunnels with it.",
		Clauses: clauses(policy("section 8, nothing is queued without a bound")), Accept: pass("the writers at both ends stop by themselves, and what waited then arrives unchanged", conformance.Intact), Run: backpressure, Timeout: 30 * time.Second,
		Tags: []string{conformance.Exclusive}, // it fills every buffer there is, which takes longer than some timers beside other work
		Forbid: map[conformance.Outcome]string{
			unbounded:             fmt.Sprintf("more than %d MiB were taken in while nobody read them", queueBound>>20),
			conformance.Corrupted: "the bytes that had waited are not those that were sent",
			conformance.Timeout:   "the tunnel did not go on when the reader did",
		},
	})
}

// byteExact sends sizes that are on both sides of what buffers and records hold, cut by chance, and compares the echo with what
// was sent and the witness's count and hash with it as well.
func byteExact(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	routes := []string{"a"}
	if has(t, "passthrough") {
		routes = append(routes, "pass")
	}
	rng := rand.New(rand.NewPCG(uint64(t.Seed), 1)) // repeatable on purpose
	all := conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("0 bytes to %d MiB both ways on routes %v; SHA-256 equal at the witness", bulk>>20, routes)}
	for _, route := range routes {
		for _, size := range []int{0, 1, wire.MaxFragment - 1, wire.MaxFragment + 1, bulk} {
			o, err := echoed(ctx, t, route, size, rng)
			o.Detail = fmt.Sprintf("route %s, %d bytes: %s", route, size, o.Detail)
			switch {
			case err == nil && o.Outcome == conformance.FIN:
				all = o
			case err != nil || o.Outcome != conformance.Intact:
				return o, err
			}
		}
	}
	return all, nil
}

func echoed(ctx context.Context, t *conformance.T, route string, size int, rng *rand.Rand) (conformance.Observation, error) {
	conn, nonce, err := ordered(ctx, t, route, witness.Order{Do: witness.Echo})
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	data := patterned(nonce, size)
	chunks := cuts(rng, size)
	sent := make(chan error, 1)
	within(t, conn)
	go func() {
		rest := data
		for _, n := range chunks {
			if _, err := conn.Write(rest[:n]); err != nil {
				sent <- err
				return
			}
			rest = rest[n:]
		}
		sent <- wire.CloseWrite(conn)
	}()
	o := received(t, conn, bytes.NewReader(data), int64(size))
	if err := <-sent; err != nil && o.Outcome == conformance.Intact {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "sending: " + err.Error()}, nil
	}
	return alsoArrived(o, func() conformance.Observation { return arrived(ctx, t, route, nonce, data) }), nil
}

// alsoArrived goes on to the other direction behind bytes that all came, with a regular end or without: what is wrong there counts for more
// than that.
func alsoArrived(o conformance.Observation, arrived func() conformance.Observation) conformance.Observation {
	if o.Outcome != conformance.Intact && o.Outcome != conformance.FIN {
		return o
	}
	if there := arrived(); there.Outcome != conformance.Intact || o.Outcome == conformance.Intact {
		return there
	}
	return o
}

// ordered opens a route and gives the witness an order.
func ordered(ctx context.Context, t *conformance.T, route string, order witness.Order) (*tlsConn, string, error) {
	cfg, err := t.Config(route)
	if err != nil {
		return nil, "", err
	}
	return orderedBy(ctx, t, route, cfg, order)
}

// orderedBy is ordered with a configuration for the route.
func orderedBy(ctx context.Context, t *conformance.T, route string, cfg *tls.Config, order witness.Order) (*tlsConn, string, error) {
	stream, err := t.Stream(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("opening route %s: %w", route, err)
	}
	conn, err := t.TLS(ctx, stream, cfg)
	if err != nil {
		return nil, "", fmt.Errorf("opening route %s: %w", route, err)
	}
	order.Nonce = t.NewNonce()
	if _, err := t.Ask(conn, order); err != nil {
		return nil, "", fmt.Errorf("asking the witness of route %s to %s: %w", route, order.Do, err)
	}
	return conn, order.Nonce, nil
}

// patterned is the first size bytes of a nonce's pattern.
func patterned(nonce string, size int) []byte {
	data := make([]byte, size)
	_, _ = io.ReadFull(witness.Pattern(nonce), data) // never fails
	return data
}

// cuts divides size into pieces: most of a few kilobytes, some of one byte, some of several records.
func cuts(rng *rand.Rand, size int) []int {
	var list []int
	for size > 0 {
		n := 1 + rng.IntN(16<<10)
		switch rng.IntN(8) {
		case 0:
			n = 1
		case 1:
			n = 1 + rng.IntN(128<<10)
		}
		n = min(n, size)
		list = append(list, n)
		size -= n
	}
	return list
}

// received reads size bytes and a clean end, and compares them with want as they come.
func received(t *conformance.T, conn *tlsConn, want io.Reader, size int64) conformance.Observation {
	buf, expect := make([]byte, 32<<10), make([]byte, 32<<10)
	var got int64
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			if got+int64(n) > size {
				return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("more than the %d bytes that were sent", size)}
			}
			_, _ = io.ReadFull(want, expect[:n]) // a pattern or the data sent: long enough by the line above
			if !bytes.Equal(buf[:n], expect[:n]) {
				at := firstDifference(buf[:n], expect[:n])
				return conformance.Observation{
					Outcome: conformance.Corrupted, Detail: fmt.Sprintf("byte %d of %d is %#02x, not %#02x", got+int64(at), size, buf[at], expect[at]),
					Diff: conformance.Difference(expect[:n], buf[:n], got),
				}
			}
			got += int64(n)
			within(t, conn) // progress: the wait is for the next bytes
		}
		if err == nil {
			continue
		}
		o := conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d of %d bytes, then %v", got, size, err)}
		switch {
		case errors.Is(err, io.EOF) && conformance.CloseNotify(conn):
			if got < size {
				o.Outcome = conformance.Lost
			}
		case errors.Is(err, io.EOF) && got == size:
			o.Outcome = conformance.FIN // without close_notify: who does not know the size cannot tell that this is all
		case errors.Is(err, io.EOF):
			o.Outcome = conformance.Truncated
		default:
			o.Outcome = t.Outcome(err)
		}
		return o
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// arrived compares the witness's own count and hash with what was sent.
func arrived(ctx context.Context, t *conformance.T, route, nonce string, data []byte) conformance.Observation {
	rec, err := t.Record(ctx, witnessOf(t, route), nonce, true)
	for last := int64(-1); err != nil; {
		open, none := t.Record(ctx, witnessOf(t, route), nonce, false)
		if none != nil || open.In == last || ctx.Err() != nil {
			return conformance.Observation{Outcome: conformance.Timeout, Detail: err.Error()}
		}
		last = open.In // progress: the wait is for the next bytes
		rec, err = t.Record(ctx, witnessOf(t, route), nonce, true)
	}
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	switch {
	case rec.End != "eof":
		return conformance.Observation{Outcome: conformance.Truncated, Detail: fmt.Sprintf("the witness saw the client's side end as %q after %d of %d bytes", rec.End, rec.In, len(data))}
	case rec.In < int64(len(data)):
		return conformance.Observation{Outcome: conformance.Lost, Detail: fmt.Sprintf("the witness got %d of %d bytes", rec.In, len(data))}
	case rec.In != int64(len(data)) || rec.SHA256 != want:
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: fmt.Sprintf("the witness got %d bytes with SHA-256 %s, sent were %d with %s", rec.In, rec.SHA256, len(data), want)}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d bytes, SHA-256 equal", len(data))}
}

// afterRequest sends request and ClientHello in one write, for every type and hellos that do and do not fit the buffer of an HTTP
// parser (4 KiB is the usual one).
func afterRequest(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	for _, typ := range up.Types {
		for _, size := range []int{0, 4096, 16 << 10, 60000} {
			msg, key, err := wire.HelloTLS13(wire.HelloOptions{SNI: t.Name("a"), ALPN: []string{"trb-a"}, PadTo: size})
			if err != nil {
				return conformance.Observation{}, err
			}
			c, err := t.HTTP(ctx)
			if err != nil {
				return conformance.Observation{}, fmt.Errorf("reaching the endpoint: %w", err)
			}
			within(t, c)
			label := fmt.Sprintf("%s, %d bytes behind the request", typ, len(msg))
			tunnel, _, err := wire.Upgrade{Type: typ, Host: up.Host, Path: up.Path, Behind: slices.Concat(wire.Records(msg)...)}.Do(c)
			if err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: label + ": " + err.Error()}, nil
			}
			s, err := wire.Connect(tunnel, msg, key)
			if err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: label + ": " + err.Error()}, nil
			}
			if o := ask(ctx, t, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
				o.Detail = label + ": " + o.Detail
				return o, nil
			}
			_ = c.Close()
		}
	}
	return conformance.Observation{Outcome: conformance.Routed, Detail: fmt.Sprintf("types %v, 0.2 to 60 KiB behind the request", up.Types)}, nil
}
