//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	openers = 8                      // tunnels opened at a time
	firsts  = 64                     // tunnels opened and closed before the baseline: what a router sets up once is not a tunnel's
	calm    = 500 * time.Millisecond // until the router has put those away
)

// idle measures what tunnels cost that do nothing, each of which has carried an echo.
func idle(ctx context.Context, j job) (sample, error) {
	s, tunnels, err := openMany(ctx, j)
	if err != nil {
		return s, err
	}
	for _, t := range tunnels {
		t.close()
	}
	return s, nil
}

// openMany opens the job's tunnels and measures them once they have been idle for j.Warm.
func openMany(ctx context.Context, j job) (s sample, tunnels []tunnel, err error) {
	o, err := newOpener(j)
	if err != nil {
		return s, nil, err
	}
	first, err := o.openAll(firsts)
	if err != nil {
		return s, nil, err
	}
	for _, t := range first {
		t.close()
	}
	if err := wait(ctx, calm); err != nil {
		return s, nil, err
	}
	before, err := j.PIDs.Hold()
	if err != nil {
		return s, nil, err
	}
	cpu, err := j.PIDs.CPU()
	if err != nil {
		return s, nil, err
	}
	begin := time.Now()
	if tunnels, err = o.openAll(j.Conns); err != nil {
		return s, nil, err
	}
	s.Seconds = time.Since(begin).Seconds()
	used, err := j.PIDs.CPU()
	if err != nil {
		return s, nil, err
	}
	s.CPU, s.Ops = used.Sub(cpu).Total.Seconds(), int64(j.Conns)
	if err := wait(ctx, j.Warm); err != nil {
		return s, nil, err
	}
	after, err := j.PIDs.Hold()
	s.Tunnels, s.PSS, s.FDs = int64(len(tunnels)), after.PSS-before.PSS, int64(after.Descriptors-before.Descriptors)
	return s, tunnels, err
}

// openAll opens n tunnels or fails.
func (o *opener) openAll(n int) ([]tunnel, error) {
	tunnels := make([]tunnel, n)
	failed := make([]error, openers)
	var wg sync.WaitGroup
	for w := range openers {
		wg.Go(func() {
			for i := w; i < n && failed[w] == nil; i += openers {
				if tunnels[i], failed[w] = o.open(); failed[w] != nil {
					failed[w] = fmt.Errorf("tunnel %d of %d: %w", i+1, n, failed[w])
				}
			}
		})
	}
	wg.Wait()
	return tunnels, errors.Join(failed...)
}

// held opens the job's tunnels, has each say a byte at its turn in the job's time, and then once more all of them.
func held(ctx context.Context, j job) (sample, error) {
	s, tunnels, err := openMany(ctx, j)
	if err != nil {
		return s, err
	}
	if s.Lost, err = sayAll(ctx, tunnels, j.Duration); err != nil {
		return s, err
	}
	s.Tunnels -= s.Lost
	for _, t := range tunnels {
		t.close()
	}
	return s, nil
}

// sayAll has each tunnel say a byte at its turn in d, and then once more all of them, and counts those that got no answer.
func sayAll(ctx context.Context, tunnels []tunnel, d time.Duration) (lost int64, err error) {
	gone := make([]bool, len(tunnels))
	say := func(i int) {
		sent := []byte{byte(i)}
		if !gone[i] && (echoOne(tunnels[i], sent) != nil || sent[0] != byte(i)) {
			gone[i] = true
			lost++
		}
	}
	begin := time.Now()
	for i := range tunnels {
		turn := d * time.Duration(i) / time.Duration(len(tunnels))
		if err := wait(ctx, turn-time.Since(begin)); err != nil {
			return lost, err
		}
		say(i)
	}
	for i := range tunnels {
		say(i)
	}
	return lost, nil
}
