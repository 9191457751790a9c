package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of checks with many tunnels.
const (
	heldUp   conformance.Outcome = "held-up" // others waited for the one that is stalled
	apart    conformance.Outcome = "apart"   // no tunnel has a byte of another
	crossing conformance.Outcome = "crossed"
)

const (
	beside    = 50  // tunnels beside the stalled one, for the catalogue's 1,000
	besideFor = 10  // echoes of each
	together  = 200 // of TUN-11, for the catalogue's 10,000
	keyed     = 24 << 10
	noisy     = 500 * time.Millisecond // a p99 above it says more of the machine than of the target
	slower    = 3                      // times the p99 without a stalled tunnel; the catalogue's tenth cannot be told from noise here
	slack     = 250 * time.Millisecond
	looks     = 3 // the best of which counts
)

func init() {
	register := func(c conformance.Check) {
		c.Role, c.Origin, c.Transports, c.Control = conformance.Router, conformance.Policy, everywhere, opens("a")
		c.Features, c.Timeout = []string{"terminate"}, 60*time.Second
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "TUN-10", Slug: "isolation", Level: conformance.Should, Tags: []string{conformance.Timing, conformance.Exclusive},
		Title: "A tunnel that nobody reads from does not hold up the others",
		Why: "One client goes to sleep with a large answer under way. Where tunnels share a lock, a buffer or a thread that writes, everybody " +
			"else waits for it to wake up.",
		Clauses: clauses(policy("section 8, nothing is queued without a bound")), Run: isolated,
		Accept: pass(fmt.Sprintf("the p99 of echoes stays below %d times what it was, and %v", slower, slack), undisturbed),
		Forbid: map[conformance.Outcome]string{heldUp: "echoes of other tunnels waited for the one that is stalled", conformance.Timeout: "other tunnels stood still"},
	})
	register(conformance.Check{
		ID: "TUN-11", Slug: "no-crosstalk", Level: conformance.Must, Tags: []string{conformance.Crowd},
		Title: "No tunnel carries a byte of another",
		Why: "A buffer that goes back to the pool while somebody still writes from it hands one customer's data to another, rarely, under load, and " +
			"with nothing in any log.",
		Clauses: clauses(policy("section 8, the tunnel")), Run: keptApart,
		Accept: pass("each tunnel has its own bytes back", apart),
		Forbid: map[conformance.Outcome]string{crossing: "a tunnel carried bytes of another"},
	})
}

// plainConfig is the configuration for a route of those who open hundreds of tunnels: it offers X25519 alone. The key exchange is not what
// they are about, and with the hybrid of crypto/tls its arithmetic would be most of what the machine does.
func plainConfig(t *conformance.T, route string) (*tls.Config, error) {
	cfg, err := t.Config(route)
	if err == nil {
		cfg.CurvePreferences = []tls.CurveID{tls.X25519}
	}
	return cfg, err
}

// manyTunnels opens n tunnels to route a, each with an order to echo and a nonce of its own, several at a time.
func manyTunnels(ctx context.Context, t *conformance.T, n int) ([]*tls.Conn, []string, error) {
	cfg, err := plainConfig(t, "a")
	if err != nil {
		return nil, nil, err
	}
	list, nonces := make([]*tls.Conn, n), make([]string, n)
	var failed [openers]error
	var wg sync.WaitGroup
	for w := range openers {
		wg.Go(func() {
			for i := w; i < n && failed[w] == nil; i += openers {
				list[i], nonces[i], failed[w] = orderedBy(ctx, t, "a", cfg, witness.Order{Do: witness.Echo})
			}
		})
	}
	wg.Wait()
	return list, nonces, errors.Join(failed[:]...)
}

// echoTimes has every tunnel carry some echoes, a few tunnels at a time, and says how long each took.
func echoTimes(t *conformance.T, list []*tls.Conn) ([]time.Duration, error) {
	took := make([][]time.Duration, len(list))
	var failed [handshakers]error
	var wg sync.WaitGroup
	for w := range handshakers {
		wg.Go(func() {
			for range besideFor {
				for i := w; i < len(list) && failed[w] == nil; i += handshakers {
					start := time.Now()
					failed[w] = echoes(t, list[i], "beside")
					took[i] = append(took[i], time.Since(start))
				}
			}
		})
	}
	wg.Wait()
	var all []time.Duration
	for _, some := range took {
		all = append(all, some...)
	}
	return all, errors.Join(failed[:]...)
}

// isolated compares echoes without a stalled tunnel, with one that is full in both directions, and without again.
func isolated(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	list, _, err := manyTunnels(ctx, t, beside)
	if err != nil {
		return conformance.Observation{}, err
	}
	calm, err := echoTimes(t, list)
	if err != nil {
		return conformance.Observation{}, err
	}
	let, err := stall(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	before, with := p99(calm), time.Duration(math.MaxInt64)
	for i := 0; i < looks && err == nil && with > slower*before+slack; i++ { // what is held up is held up each time
		var stalled []time.Duration
		stalled, err = echoTimes(t, list)
		with = min(with, p99(stalled))
	}
	let()
	detail := fmt.Sprintf("%d tunnels beside a stalled one, %d echoes each: p99 %v without it, %v with it", beside, besideFor, before.Round(time.Microsecond), with.Round(time.Microsecond))
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: detail + ": " + err.Error()}, nil
	}
	if with <= slower*before+slack {
		return conformance.Observation{Outcome: undisturbed, Detail: detail}, nil
	}
	again, err := echoTimes(t, list)
	if after := p99(again); err != nil || before > noisy || after > before+slack {
		return conformance.Observation{}, errors.Join(fmt.Errorf("the machine is too busy to tell: %s, %v behind it", detail, after), err)
	}
	return conformance.Observation{Outcome: heldUp, Detail: detail}, nil
}

// stall makes a tunnel that is full in both directions, since its witness sends and does not read, and returns what ends it.
func stall(ctx context.Context, t *conformance.T) (end func(), err error) {
	conn, nonce, err := ordered(ctx, t, "a", witness.Order{Do: witness.Source, Bytes: 2 * queueBound})
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	var up atomic.Int64
	wg.Go(func() {
		for chunk := make([]byte, 64<<10); up.Load() <= queueBound; up.Add(int64(len(chunk))) {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})
	end = func() {
		_ = wire.Reset(conn)
		wg.Wait()
	}
	_, _, full := settles(ctx, t, up.Load, func() int64 {
		rec, err := t.Record(ctx, witnessOf(t, "a"), nonce, false)
		if err != nil {
			return 0
		}
		return rec.Out
	})
	if !full {
		end()
		return nil, errors.New("the target takes in whatever comes: TUN-09 is about that")
	}
	return end, nil
}

// keptApart has many tunnels at once carry bytes that are found in no other.
func keptApart(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	list, nonces, err := manyTunnels(ctx, t, together)
	if err != nil {
		return conformance.Observation{}, err
	}
	got, errs := make([][]byte, len(list)), make([]error, len(list))
	var wg sync.WaitGroup
	for i, conn := range list {
		wg.Go(func() {
			got[i], errs[i] = echoedBack(t, conn, patterned(nonces[i], keyed), rand.New(rand.NewPCG(uint64(t.Seed), uint64(i))))
		})
	}
	wg.Wait()
	for i := range list {
		want := patterned(nonces[i], keyed)
		if bytes.Equal(got[i], want) {
			continue
		}
		at := firstDifference(got[i], want)
		detail := fmt.Sprintf("tunnel %d of %d, seed %d: byte %d of %d differs", i+1, len(list), t.Seed, at, len(want))
		if errs[i] != nil && bytes.HasPrefix(want, got[i]) {
			return conformance.Observation{Outcome: t.Outcome(errs[i]), Detail: fmt.Sprintf("tunnel %d of %d: %d bytes, then %v", i+1, len(list), len(got[i]), errs[i])}, nil
		}
		strange := got[i][at:min(at+32, len(got[i]))]
		for j, nonce := range nonces {
			if where := bytes.Index(patterned(nonce, keyed), strange); where >= 0 && j != i {
				return conformance.Observation{Outcome: crossing, Detail: fmt.Sprintf("%s: it is byte %d of tunnel %d", detail, where, j+1)}, nil
			}
		}
		return conformance.Observation{Outcome: conformance.Corrupted, Detail: detail}, nil
	}
	return conformance.Observation{Outcome: apart, Detail: fmt.Sprintf("%d tunnels at once, %d KiB each both ways, seed %d", len(list), keyed>>10, t.Seed)}, nil
}

// echoedBack writes data in pieces and reads as much back.
func echoedBack(t *conformance.T, conn net.Conn, data []byte, rng *rand.Rand) ([]byte, error) {
	sizes := cuts(rng, len(data))
	_ = conn.SetDeadline(time.Now().Add(5 * t.Wait())) // hundreds at once
	sent := make(chan error, 1)
	go func() {
		rest, err := data, error(nil)
		for _, n := range sizes {
			if _, err = conn.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		sent <- err
	}()
	got := make([]byte, len(data))
	n, err := io.ReadFull(conn, got)
	if err != nil {
		_ = conn.SetDeadline(time.Now()) // lets the writer go
	}
	return got[:n], errors.Join(err, <-sent)
}
