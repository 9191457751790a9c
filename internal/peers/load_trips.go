//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// message is the size of the ping-pong's.
const message = 64

// pingPong keeps one message under way on each connection.
func pingPong(ctx context.Context, j job) (sample, error) {
	o, err := newOpener(j)
	if err != nil {
		return sample{}, err
	}
	v := volley{sent: map[socket]time.Time{}, latencies: make([]time.Duration, 0, 1<<20)}
	if v.poll, err = newPoll(); err != nil {
		return sample{}, err
	}
	for range j.Conns {
		t, err := o.open()
		if err != nil {
			return sample{}, err
		}
		if err := v.poll.add(t.(socket)); err != nil {
			return sample{}, err
		}
		v.sent[t.(socket)] = time.Time{}
	}
	done := make(chan error, 1)
	go func() { done <- v.play() }()
	from, to, s, err := window(ctx, j, v.trips.Load)
	v.stop.Store(true)
	if err := errors.Join(err, <-done); err != nil {
		return s, err
	}
	s.Ops = to - from
	if s.Ops == 0 {
		return s, errors.New("no message came back in the window")
	}
	latencies := v.latencies[from:to]
	slices.Sort(latencies)
	s.P50 = latencies[len(latencies)/2]
	return s, nil
}

type volley struct {
	poll      *poll
	sent      map[socket]time.Time
	latencies []time.Duration // one a trip, in the order they ended
	trips     atomic.Int64
	stop      atomic.Bool
}

func (v *volley) play() error {
	b := make([]byte, message)
	for s := range v.sent {
		v.sent[s] = time.Now()
		if _, err := s.Write(b); err != nil {
			return err
		}
	}
	for !v.stop.Load() {
		ready, err := v.poll.wait()
		if err != nil {
			return err
		}
		for _, s := range ready {
			if _, err := io.ReadFull(s, b); err != nil {
				return fmt.Errorf("pong: %w", err)
			}
			now := time.Now()
			v.latencies = append(v.latencies, now.Sub(v.sent[s]))
			v.trips.Add(1)
			v.sent[s] = now
			if _, err := s.Write(b); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		}
	}
	return nil
}

// connect opens a tunnel after another, Conns at a time, each closed after its first echo.
func connect(ctx context.Context, j job) (sample, error) {
	return closedLoop(ctx, j, func(o *opener) (func() error, error) {
		return func() error {
			t, err := o.open()
			if err == nil {
				t.close()
			}
			return err
		}, nil
	})
}
