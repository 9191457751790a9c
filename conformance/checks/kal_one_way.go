package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const (
	steps     = 4         // pieces an idle timeout
	oneWayFor = 2 * steps // KAL-06: two timeouts
)

// oneWay sends in one direction only, over raw tunnels: a byte from the client at a time, and from the backend as much as the client
// takes at a time.
func oneWay(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	ways, tunnels := []string{"from the client", "from the backend"}, map[string]*tlsConn{}
	for _, way := range ways {
		conn, _, err := overTunnel(ctx, t, wire.ALPN)
		if err != nil {
			return conformance.Observation{}, err
		}
		defer conn.Close()
		tunnels[way] = conn
	}
	t.AtRest() // but for what the handshakes, or the orders at once behind them, have dialled
	return inParallel(t, ways, func(way string) (conformance.Observation, error) {
		if way == "from the client" {
			return oneWayUp(ctx, t, tunnels[way], timeout)
		}
		return oneWayDown(ctx, t, tunnels[way], timeout)
	})
}

// every calls do at once and then after each of so many steps, of which an idle timeout has the number steps. An error of do is
// conformance.ErrStalled as well when we ourselves were silent for half an idle timeout before it.
func every(ctx context.Context, step time.Duration, times int, do func(i int) error) (time.Duration, error) {
	tick := time.NewTicker(step)
	defer tick.Stop()
	start := time.Now()
	for i, last := 0, start; ; i++ {
		pause := time.Since(last)
		last = last.Add(pause)
		if err := do(i); err != nil || i == times {
			if err != nil && pause > step*steps/2 {
				err = fmt.Errorf("%w (%v): %w", conformance.ErrStalled, pause, err)
			}
			return time.Since(start), err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Since(start), ctx.Err()
		}
	}
}

func oneWayUp(ctx context.Context, t *conformance.T, conn *tlsConn, timeout time.Duration) (conformance.Observation, error) {
	nonce := t.NewNonce()
	if _, err := t.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Sink}); err != nil {
		return conformance.Observation{}, err
	}
	var sent []byte
	lasted, err := every(ctx, timeout/steps, oneWayFor, func(step int) error {
		sent = append(sent, byte(step))
		within(t, conn)
		_, err := conn.Write(sent[step:])
		return err
	})
	if err == nil {
		err = wire.CloseWrite(conn)
	}
	if errors.Is(err, conformance.ErrStalled) {
		return conformance.Observation{}, err
	}
	if err != nil {
		return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("%v after %v", err, lasted.Round(10*time.Millisecond))}, nil
	}
	if o := arrived(ctx, t, "a", nonce, sent); o.Outcome != conformance.Intact {
		return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("after %v: %s", lasted.Round(10*time.Millisecond), o.Detail)}, nil
	}
	return conformance.Observation{Outcome: alive, Detail: fmt.Sprintf("%d bytes in %v", len(sent), lasted.Round(10*time.Millisecond))}, nil
}

// atOnce is more than the kernel's buffers hold on the way, so that each reading makes bytes move on every hop of the path.
const atOnce = 16 << 20

func oneWayDown(ctx context.Context, t *conformance.T, conn *tlsConn, timeout time.Duration) (conformance.Observation, error) {
	nonce := t.NewNonce()
	const total = (oneWayFor + 4) * atOnce
	if _, err := t.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Source, Bytes: total}); err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = wire.Reset(conn) }()
	pattern := witness.Pattern(nonce)
	var read int64
	got, want := make([]byte, 256<<10), make([]byte, 256<<10)
	lasted, err := every(ctx, timeout/steps, oneWayFor, func(step int) error {
		// No longer than half a step: while it takes that long bytes flow, which is what this is about. But the last must be whole:
		// on a slow machine buffers may hold all that the others read, long after the tunnel was cut.
		last := step == oneWayFor
		for began, n := time.Now(), 0; n < atOnce && (last || time.Since(began) < timeout/steps/2); n += len(got) {
			within(t, conn)
			if _, err := io.ReadFull(conn, got); err != nil {
				return err
			}
			_, _ = io.ReadFull(pattern, want) // never fails
			if !bytes.Equal(got, want) {
				return fmt.Errorf("byte %d differs", read+int64(firstDifference(got, want)))
			}
			read += int64(len(got))
		}
		return nil
	})
	if errors.Is(err, conformance.ErrStalled) {
		return conformance.Observation{}, err
	}
	if err != nil {
		return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("%v after %v and %.0f MiB", err, lasted.Round(10*time.Millisecond), mib(read))}, nil
	}
	return conformance.Observation{Outcome: alive, Detail: fmt.Sprintf("%.0f MiB in %v", mib(read), lasted.Round(10*time.Millisecond))}, nil
}
