package checks

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// lastOnes: the witness sends and ends while what the client has sent is still unread, then the client does the same to a
// witness that reads late.
func lastOnes(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, nonce, err := ordered(ctx, t, "a", witness.Order{Do: witness.Source, Bytes: lastBytes})
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	pending := patterned("reverse", reversed)
	within(t, conn)
	sent := make(chan error, 1)
	go func() { _, err := conn.Write(pending); sent <- err }() // the witness does not read before it has sent all
	o := received(t, conn, witness.Pattern(nonce), lastBytes)
	if err := <-sent; err != nil && o.Outcome == conformance.Intact {
		o = conformance.Observation{Outcome: t.Outcome(err), Detail: "sending what is pending: " + err.Error()}
	}
	o = alsoArrived(o, func() conformance.Observation {
		if err := wire.CloseWrite(conn); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: "ending: " + err.Error()}
		}
		return arrived(ctx, t, "a", nonce, pending)
	})
	o.Detail = "from the backend: " + o.Detail
	o = alsoArrived(o, func() (there conformance.Observation) {
		there, err = lastOfClient(ctx, t)
		there.Detail = "from the client: " + there.Detail
		return there
	})
	return o, err
}

const readLate = 200 * time.Millisecond

func lastOfClient(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, nonce, err := ordered(ctx, t, "a", witness.Order{Do: witness.Stall, ForMS: readLate.Milliseconds()})
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	data := patterned(nonce, lastBytes)
	for piece := range slices.Chunk(data, 256<<10) {
		within(t, conn) // for each: a slow path is not a path that has stopped
		if _, err := conn.Write(piece); err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: "sending: " + err.Error()}, nil
		}
	}
	if err := wire.CloseWrite(conn); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "ending: " + err.Error()}, nil
	}
	return arrived(ctx, t, "a", nonce, data), nil
}

// backpressure lets the witness send while nobody reads here, and sends while the witness, which is busy sending, does not read
// there. Both writers have to stop by themselves; there is no clock that could run out under a slow machine but the check's own.
func backpressure(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, nonce, err := ordered(ctx, t, "a", witness.Order{Do: witness.Source, Bytes: 2 * queueBound})
	if err != nil {
		return conformance.Observation{}, err
	}
	var up atomic.Int64
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		chunk := make([]byte, 64<<10)
		for up.Load() <= queueBound {
			n, err := conn.Write(chunk)
			up.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = wire.Reset(conn) // there is more under way than anybody wants to read
		<-sending
	}()
	downNow := func() int64 {
		rec, err := t.Record(ctx, witnessOf(t, "a"), nonce, false)
		if err != nil {
			return 0
		}
		return rec.Out
	}
	most, since, ok := settles(ctx, t, up.Load, downNow)
	silent := time.Since(since)
	detail := fmt.Sprintf("%.1f MiB from the client and %.1f MiB from the backend were taken in while nobody read", mib(most[0]), mib(most[1]))
	switch {
	case ctx.Err() != nil:
		return conformance.Observation{}, fmt.Errorf("neither stopped nor over the bound: %s: %w", detail, ctx.Err())
	case !ok:
		return conformance.Observation{Outcome: unbounded, Detail: detail}, nil
	}
	want, got := patterned(nonce, bulk), make([]byte, bulk)
	for n := 0; n < bulk; {
		within(t, conn)
		m, err := conn.Read(got[n:])
		if n += m; err != nil {
			if idle := t.Path.IdleTimeout; idle > 0 && silent > idle*3/4 {
				return conformance.Observation{}, fmt.Errorf("%w (%v): %w", conformance.ErrStalled, silent, err)
			}
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("%s; then %d of %d bytes came: %v", detail, n, bulk, err)}, nil
		}
	}
	if !bytes.Equal(got, want) {
		return conformance.Observation{
			Outcome: conformance.Corrupted, Detail: fmt.Sprintf("byte %d differs", firstDifference(got, want)), Diff: conformance.Difference(want, got, 0),
		}, nil
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: detail}, nil
}

// settles waits until none of the counts has moved for a while, or one is over the bound; ok is false then. A load balancer on the way
// counts this as idle, so the while is no more than half of what that one allows; since is when it began.
func settles(ctx context.Context, t *conformance.T, counts ...func() int64) (now []int64, since time.Time, ok bool) {
	quiet := max(quietFor, t.Silence())
	if idle := t.Path.IdleTimeout; idle > 0 {
		quiet = min(quiet, idle/2)
	}
	now = make([]int64, len(counts))
	since = time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for i, count := range counts {
			n := count()
			if n > queueBound {
				now[i] = n
				return now, since, false
			}
			if n != now[i] || n == 0 {
				now[i], since = n, time.Now()
			}
		}
		if time.Since(since) > quiet {
			return now, since, true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return now, since, true
		}
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
