package shard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// clockReadings is how often the coordinator's clock is asked for.
const clockReadings = 8

// Agent is a process's place among the others. It is used by one goroutine at a time.
type Agent struct {
	line     *line
	clock    clock
	offset   int64 // own clock minus the coordinator's
	patience time.Duration
	err      error // what ended it
}

// Join tells the coordinator who this is, and waits until all are there. Hello gets its clock fields. The connection is the agent's from
// now on, in any case.
func Join(ctx context.Context, conn net.Conn, hello *Hello, patience time.Duration) (*Agent, error) {
	a := &Agent{line: newLine(conn), clock: newClock(), patience: patience}
	for i := range clockReadings {
		before := a.clock.now()
		m, err := a.ask(ctx, message{Clock: 1})
		if err != nil {
			return nil, errors.Join(err, a.Close())
		}
		after := a.clock.now()
		if took := after - before; i == 0 || took < hello.RoundTripNS {
			hello.RoundTripNS, hello.OffsetNS = took, before+took/2-m.Clock
		}
	}
	a.offset = hello.OffsetNS
	if _, err := a.ask(ctx, message{Hello: hello}); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// ask sends a message and waits for its answer; after an error there is no other.
func (a *Agent) ask(ctx context.Context, m message) (message, error) {
	if ctx.Err() != nil && a.err == nil {
		a.err = errors.Join(context.Cause(ctx), a.Close())
	}
	if a.err != nil {
		return message{}, a.err
	}
	stop := context.AfterFunc(ctx, func() { _ = a.line.conn.Close() })
	defer stop()
	answer, err := message{}, a.line.send(m, a.patience)
	if err == nil {
		// Those who are missing get their time first, and the coordinator says who it was.
		answer, err = a.line.receive(maxLine, a.patience+10*time.Second)
	} else if last, told := a.line.receive(maxLine, time.Second); told == nil && last.Error != "" {
		answer, err = last, nil // it had closed, and said why
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("coordinator: %w", err)
	case answer.Error != "":
		err = errors.New(answer.Error)
	}
	a.err = err
	return answer, err
}

// Meet waits until every agent is at the point; see bench.Barrier.
func (a *Agent) Meet(ctx context.Context, point string, values ...float64) (start time.Time, sums []float64, err error) {
	m, err := a.ask(ctx, message{Point: point, Values: values})
	if err == nil && len(m.Values) != len(values) {
		err = fmt.Errorf("coordinator: %d sums of %d values", len(m.Values), len(values))
		a.err = err
	}
	if err != nil {
		return time.Time{}, nil, err
	}
	return a.clock.at(m.StartNS + a.offset), m.Values, nil
}

// Deliver hands in what was measured, and waits until all have.
func (a *Agent) Deliver(ctx context.Context, p Part) error {
	_, err := a.ask(ctx, message{Part: &p})
	return err
}

// Close ends the connection; before a Deliver that is a failure for all.
func (a *Agent) Close() error { return a.line.conn.Close() }
