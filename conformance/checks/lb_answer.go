package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// passedOn is the outcome "the request reached the target, and the target's answer the client".
const passedOn conformance.Outcome = "passed-on"

func saw(o conformance.Outcome, format string, args ...any) conformance.Observation {
	return conformance.Observation{Outcome: o, Detail: fmt.Sprintf(format, args...)}
}

// standIn answers every request that reaches the target with 200, each on a connection of its own, until stopped. Stop waits for it and
// says what came.
func standIn(ctx context.Context, t *conformance.T) (stop func() []*wire.Request) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var came []*wire.Request
	wg.Go(func() {
		for ctx.Err() == nil {
			c, _, err := t.AcceptStub(ctx)
			if err != nil {
				continue // nothing came within a wait
			}
			within(t, c)
			req, _, err := wire.ReadRequest(c)
			if err != nil {
				t.Logf("the stand-in for the target: %v", err)
			} else {
				came = append(came, req)
				_ = answerAndEnd(t, c, servedByTarget)
			}
			_ = c.Close()
		}
	})
	return func() []*wire.Request {
		cancel()
		wg.Wait()
		return came
	}
}

// answerAndEnd answers, ends its direction, and takes what still comes: closing over unread bytes would be a reset, which can overtake
// the answer.
func answerAndEnd(t *conformance.T, c net.Conn, raw string) error {
	if err := bounded(t, c, []byte(raw)); err != nil {
		return err
	}
	if err := wire.CloseWrite(c); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 1<<20)) // a peer that has its answer may reset
	return nil
}

// decides sends a request on front and says who answered: passedOn for the target, http:N for the balancer on its own. The answer and
// the connection behind its head come with it; they are nil when there is none.
func decides(ctx context.Context, t *conformance.T, front net.Conn, raw string) (conformance.Observation, *wire.Response, net.Conn) {
	return decidesWithin(ctx, t, front, raw, t.Wait())
}

// decidesWithin is decides for an answer that may take longer.
func decidesWithin(ctx context.Context, t *conformance.T, front net.Conn, raw string, wait time.Duration) (conformance.Observation, *wire.Response, net.Conn) {
	stop := standIn(ctx, t)
	_ = bounded(t, front, []byte(raw)) // who refuses the beginning of a request may not take the rest: the answer tells
	_ = front.SetDeadline(time.Now().Add(wait))
	resp, rest, err := wire.ReadResponse(front)
	came := stop()
	switch {
	case err != nil:
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil, nil
	case len(came) > 0 && resp.Status == 200:
		return saw(passedOn, "the target got %s %.60s and answered", came[0].Method, came[0].Target), resp, rest
	case len(came) > 0:
		return saw(conformance.HTTPStatus(resp.Status), "the target got the request and answered 200, the client got %d", resp.Status), resp, rest
	}
	return saw(conformance.HTTPStatus(resp.Status), "the balancer answered %d %s", resp.Status, resp.Reason), resp, rest
}

// decidesAlone is decides on a connection of its own.
func decidesAlone(ctx context.Context, t *conformance.T, raw string) (conformance.Observation, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = front.Close() }()
	o, _, _ := decides(ctx, t, front, raw)
	return o, nil
}

// passes is a positive control: this request is carried to the target, and its answer back.
func passes(raw func(t *conformance.T) string) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		o, err := decidesAlone(ctx, t, raw(t))
		if err == nil && o.Outcome != passedOn {
			err = fmt.Errorf("a request with nothing wrong in it: %s: %s", o.Outcome, o.Detail)
		}
		return err
	}
}

// reaches sends a request on a connection of its own and returns it as the target got it. The target has answered it, whatever came of
// that; an *errAlone says that the balancer did.
func reaches(ctx context.Context, t *conformance.T, raw string) (*wire.Request, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return nil, err
	}
	return reachesOn(ctx, t, front, raw)
}

// reachesOn is reaches on a connection that is there already, and is closed.
func reachesOn(ctx context.Context, t *conformance.T, front net.Conn, raw string) (*wire.Request, error) {
	c, err := carry(ctx, t, front, raw)
	if err != nil {
		_ = front.Close()
		return nil, err
	}
	defer c.close()
	_, _, _ = c.answer(t, servedByTarget) // the request has been seen
	return c.req, nil
}

// overTLS is a check of the TLS side of a listener: NOT-RUN where it has none.
func overTLS(run func(context.Context, *conformance.T) (conformance.Observation, error)) func(context.Context, *conformance.T) (conformance.Observation, error) {
	return func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
		if !t.Path.Upgrade.TLS {
			return conformance.Observation{}, &conformance.NotRunError{Reason: "the listener is plain HTTP"}
		}
		return run(ctx, t)
	}
}

// errAsAlone says whether the balancer answered by itself, and what.
func errAsAlone(err error) (*errAlone, bool) { return errors.AsType[*errAlone](err) }

func errAsHarness(err error) (*harnessError, bool) { return errors.AsType[*harnessError](err) }
