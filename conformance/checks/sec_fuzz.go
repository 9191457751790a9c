package checks

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of the fuzzing.
const (
	survived conformance.Outcome = "survived"
	hasty    conformance.Outcome = "answered-a-part" // a ServerHello for a ClientHello that was not all there
	dead     conformance.Outcome = "no-longer-serves"
	leaks    conformance.Outcome = "leaks"
)

const (
	// Hellos a run, for the catalogue's million: each leaves a socket in TIME_WAIT for a minute, and some tens of thousands of those slow a
	// machine's every connection down. A run with another seed tries others.
	fuzzed     = 3_000
	fuzzedLow  = 500             // with fewer nothing is said
	fuzzTime   = 6 * time.Second // and no longer: on a busy machine there are fewer
	soon       = 50 * time.Millisecond
	fuzzExtras = 128 // descriptors that a process may have more than before: a Go program keeps the pipes of its splice(2) for a while
)

func init() {
	conformance.Register(conformance.Check{
		ID: "SEC-10", Slug: "fuzz", Level: conformance.Must, Origin: conformance.Policy, Role: conformance.Router, Transports: directOnly,
		Features: []string{"terminate"}, Setup: onItsOwn("fuzz"), Timeout: 5 * fuzzTime,
		Tags:  []string{conformance.Exclusive}, // it counts connections that it has made
		Title: "Mutated ClientHellos crash nothing, are led nowhere and leave nothing behind",
		Why: "The parser of the ClientHello reads what anybody in the world sends, before anything else is known. A panic there is an outage for " +
			"everybody at once, and a byte that is read in two ways is a way past the routing table.",
		Clauses: clauses(policy("section 7, the group SEC")), Control: opens("a"), Run: fuzz,
		Accept: pass("each is answered or closed, no backend is dialled that it does not name, and afterwards all is as before", survived),
		Forbid: map[conformance.Outcome]string{
			hasty: "a part of a ClientHello was decided on", dead: "the target does not serve any more", leaks: "descriptors were left behind",
			conformance.Timeout: "a connection was neither answered nor closed, though its client had ended",
		},
	})
}

// fuzzKey is a share that nobody uses.
var fuzzKey = sync.OnceValue(func() *ecdh.PrivateKey {
	key, _ := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{1}, 32)) // any 32 bytes will do
	return key
})

// deterministic is a ClientHello in records, the same for the same rng.
func deterministic(rng *rand.Rand, o wire.HelloOptions, sizes ...int) []byte {
	fill := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	o.Key = fuzzKey()
	o.SessionID = fill(32)
	msg := wire.NewHello(o)
	copy(msg[6:], fill(32)) // behind type, length and version: the random
	return slices.Concat(wire.Records(msg, sizes...)...)
}

// mutate changes one to four places.
func mutate(rng *rand.Rand, raw []byte) []byte {
	for range 1 + rng.IntN(4) {
		if len(raw) < 2 {
			return raw
		}
		at := rng.IntN(len(raw))
		n := 1 + rng.IntN(min(16, len(raw)-at))
		switch rng.IntN(7) {
		case 0:
			raw[at] ^= 1 << rng.IntN(8)
		case 1:
			raw[at] = []byte{0, 1, 0x7f, 0x80, 0xff}[rng.IntN(5)]
		case 2:
			raw = slices.Delete(raw, at, at+n)
		case 3:
			raw = slices.Insert(raw, at, slices.Clone(raw[at:at+n])...)
		case 4:
			raw = raw[:at]
		case 5:
			if at+2 <= len(raw) {
				binary.BigEndian.PutUint16(raw[at:], uint16(rng.IntN(1<<rng.IntN(17))))
			}
		case 6:
			raw = append(raw, raw[at:at+n]...)
		}
	}
	return raw
}

// fuzzedHello is number i of a seed: a ClientHello, for the passthrough route or for another, changed.
func fuzzedHello(t *conformance.T, i int, through bool) []byte {
	rng := rand.New(rand.NewPCG(uint64(t.Seed), uint64(i))) // repeatable on purpose
	bases := []wire.HelloOptions{
		{SNI: t.Name("a"), ALPN: []string{"trb-a"}},
		{SNI: t.Name("b"), ALPN: []string{"trb-b", "trb-both"}},
		{SNI: t.Name("x.wild"), ALPN: []string{"trb-wild"}},
		{ALPN: []string{"trb-any"}},
		{SNI: t.Name("nobody-has-this-name")},
		{SNI: t.Name("mtls"), ALPN: []string{"trb-mtls"}},
		{SNI: t.Name("a"), PadTo: 4000},
	}
	base := bases[i%len(bases)]
	if through {
		base = wire.HelloOptions{SNI: t.Name("pass")}
	}
	sizes := [][]int{nil, nil, {100, wire.MaxFragment}, {1, 3, wire.MaxFragment}}[i%4]
	return mutate(rng, deterministic(rng, base, sizes...))
}

// fuzz sends nine in ten hellos that name no passed-through route: none of them may reach a backend, for none of them goes on to a
// finished handshake. The tenth is for the passthrough route, which only those may reach whose bytes still hold its name.
func fuzz(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	pid, pidErr := foreign(t)
	var fds int64
	if pidErr == nil {
		if fds, pidErr = descriptors(pid); pidErr != nil {
			return conformance.Observation{}, pidErr
		}
	}
	until := time.Now().Add(fuzzTime)
	before := t.Accepted()
	name := []byte(t.Name("pass")[:4])
	first, n, err := volley(ctx, t, 0, fuzzed*9/10, until, func(i int) []byte {
		raw := fuzzedHello(t, i, false)
		if bytes.Contains(bytes.ToLower(raw), name) {
			return nil // by chance
		}
		return raw
	})
	seed := fmt.Sprintf("seed %d", t.Seed)
	switch {
	case err != nil:
		return conformance.Observation{}, err
	case first.Outcome != survived:
		first.Detail = seed + ", " + first.Detail
		return first, nil
	}
	if o := undialled(ctx, t, before, first); o.Outcome != survived {
		o.Detail = fmt.Sprintf("%s, %d hellos without a name of the passthrough route: %s", seed, n, o.Detail)
		return o, nil
	}
	if has(t, "passthrough") {
		var may atomic.Int64
		before = t.Accepted()
		second, m, err := volley(ctx, t, fuzzed, fuzzed/10, until.Add(fuzzTime/10), func(i int) []byte {
			raw := fuzzedHello(t, i, true)
			if bytes.Contains(bytes.ToLower(raw), name) {
				may.Add(1)
			}
			return raw
		})
		switch dialled := t.Accepted() - before; {
		case err != nil:
			return conformance.Observation{}, err
		case second.Outcome != survived:
			second.Detail = seed + ", " + second.Detail
			return second, nil
		case dialled > may.Load():
			return conformance.Observation{Outcome: conformance.Dialled, Detail: fmt.Sprintf("%s: %d connections to backends, only %d hellos had the name", seed, dialled, may.Load())}, nil
		}
		n += m
	}
	if err := opens("a")(ctx, t); err != nil {
		return conformance.Observation{Outcome: dead, Detail: fmt.Sprintf("%s, behind %d hellos: %v", seed, n, err)}, nil
	}
	o := conformance.Observation{Outcome: survived, Detail: fmt.Sprintf("%d of %d mutated hellos, %s", n, fuzzed, seed)}
	if pidErr != nil {
		o.Detail = fmt.Sprintf("%s; descriptors not looked at: %v", o.Detail, pidErr)
	} else if o, err = leftBehind(ctx, t, pid, fds, o); err != nil || o.Outcome != survived {
		return o, err
	}
	if n < fuzzedLow {
		return conformance.Observation{}, fmt.Errorf("only %d hellos were sent in %v: the machine is too busy", n, fuzzTime)
	}
	return o, nil
}

// leftBehind waits for the descriptors of a process to be as few as before, and says so in what has been seen so far.
func leftBehind(ctx context.Context, t *conformance.T, pid int, before int64, o conformance.Observation) (conformance.Observation, error) {
	now, err := descriptors(pid)
	for end := time.Now().Add(t.Wait()); err == nil && now > before+fuzzExtras && time.Now().Before(end); pause(ctx, 20*time.Millisecond) {
		now, err = descriptors(pid)
	}
	if now > before+fuzzExtras {
		o.Outcome = leaks
	}
	o.Detail = fmt.Sprintf("%s; %d descriptors before, %d behind", o.Detail, before, now)
	return o, err
}

// volley sends n hellos from several goroutines, until one is answered wrongly or the time is over. It returns the first wrong answer,
// and how many were sent.
func volley(ctx context.Context, t *conformance.T, from, n int, until time.Time, hello func(i int) []byte) (conformance.Observation, int, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards wrong and failed
	wrong, failed := conformance.Observation{Outcome: survived}, error(nil)
	var sent atomic.Int64
	stop := make(chan struct{})
	var once sync.Once
	for w := range openers {
		wg.Go(func() {
			for i := from + w; i < from+n && time.Now().Before(until) && ctx.Err() == nil; i += openers {
				select {
				case <-stop:
					return
				default:
				}
				raw := hello(i)
				if raw == nil {
					continue
				}
				o, err := volleyed(ctx, t, i, raw)
				sent.Add(1)
				if o.Outcome == survived && err == nil {
					continue
				}
				mu.Lock()
				if wrong.Outcome == survived {
					wrong, failed = o, err
					wrong.Detail = fmt.Sprintf("hello %d: %s; %.80x…", i, o.Detail, raw)
				}
				mu.Unlock()
				once.Do(func() { close(stop) })
				return
			}
		})
	}
	wg.Wait()
	return wrong, int(sent.Load()), failed
}

// volleyed sends one hello and waits for an answer, and when none comes soon sends the end of the stream too and waits again. In the end
// it resets: tens of thousands of connections that are closed in the usual way would leave no port for anybody (TIME_WAIT). Of the
// hellos that lack bytes most are left by a reset at once, as clients do. It is not traced: there are too many.
func volleyed(ctx context.Context, t *conformance.T, i int, raw []byte) (conformance.Observation, error) {
	d := net.Dialer{Timeout: t.Wait()}
	c, err := d.DialContext(ctx, "tcp", t.Path.Address)
	if err != nil {
		return conformance.Observation{Outcome: dead, Detail: err.Error()}, nil
	}
	defer func() { _ = wire.Reset(c) }()
	within(t, c)
	_, _, parsed := wire.ParseHello(raw)
	incomplete := errors.Is(parsed, wire.ErrNeedMore)
	if _, err := c.Write(raw); err != nil || incomplete && i%8 != 0 {
		return conformance.Observation{Outcome: survived}, nil //nolint:nilerr // closed while we wrote, or left
	}
	if !incomplete {
		_ = c.SetReadDeadline(time.Now().Add(soon))
	} else if err := wire.CloseWrite(c); err != nil {
		return conformance.Observation{Outcome: survived}, nil //nolint:nilerr // closed while we wrote
	}
	rec, err := wire.ReadAnswer(c)
	if !incomplete && t.Outcome(err) == conformance.Timeout {
		within(t, c)
		_ = wire.CloseWrite(c) // one that has closed says so on reading
		rec, err = wire.ReadAnswer(c)
	}
	if ctx.Err() != nil {
		return conformance.Observation{}, ctx.Err()
	}
	switch {
	case t.Outcome(err) == conformance.Timeout:
		return conformance.Observation{Outcome: conformance.Timeout, Detail: err.Error()}, nil
	case err == nil && rec.Type == 22 && incomplete:
		return conformance.Observation{Outcome: hasty, Detail: fmt.Sprintf("answered with a handshake record: % x", rec.Fragment[:min(8, len(rec.Fragment))])}, nil
	}
	return conformance.Observation{Outcome: survived}, nil
}
