package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// errStillDialling says that the client had neither a connection nor an error when its time was over; echoError that it had a
// connection which did not work.
var errStillDialling = errors.New("the client was still dialling when its time was over")

type echoError struct{ err error }

func (e *echoError) Error() string { return "an echo: " + e.err.Error() }
func (e *echoError) Unwrap() error { return e.err }

// dialled asks the client for a connection and, when it gives one, for an echo through it. The connection is returned open, nil
// when there is none.
func (p *played) dialled(ctx context.Context) (net.Conn, error) {
	if p.t.Target.Dial == nil {
		return nil, &conformance.NotRunError{Reason: "the target cannot be asked to dial"}
	}
	limited, cancel := context.WithTimeout(ctx, 2*p.t.Wait())
	defer cancel()
	conn, report, err := p.t.Target.Dial(limited, p.request)
	p.noted(func() { p.report = report })
	if err != nil && limited.Err() != nil {
		return nil, fmt.Errorf("%w (%v): %w", errStillDialling, 2*p.t.Wait(), err)
	}
	if err != nil {
		return nil, err
	}
	within(p.t, conn)
	msg := []byte("through the tunnel " + p.t.Nonce)
	if _, err := conn.Write(msg); err != nil {
		return nil, errors.Join(&echoError{err}, conn.Close())
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(conn, got); err != nil {
		return nil, errors.Join(&echoError{err}, conn.Close())
	}
	if string(got) != string(msg) {
		return nil, errors.Join(&echoError{fmt.Errorf("%q came back for %q", got, msg)}, conn.Close())
	}
	return conn, nil
}

// dials is the positive control of a client check: the same server, honest.
func dials(ctx context.Context, t *conformance.T) error {
	return dialsTo(ctx, t, script{typ: wire.WebSocket, answer: honest})
}

// dialsAnyWay is dials by every way that the client has.
func dialsAnyWay(ctx context.Context, t *conformance.T) error {
	for _, typ := range ways(t) {
		if err := dialsTo(ctx, t, script{typ: typ, answer: honest}); err != nil {
			return err
		}
	}
	return nil
}

func dialsTo(ctx context.Context, t *conformance.T, s script) error {
	p, err := play(ctx, t, s)
	if err != nil {
		return err
	}
	defer p.stop()
	conn, err := p.dialled(ctx)
	if err != nil {
		_, _, notes := p.seen()
		return fmt.Errorf("the client could not dial an honest server (%s): %w", s.typ, errors.Join(err, notes))
	}
	_ = conn.Close() // the server may be gone first, and then its farewell cannot be answered
	return nil
}

// ways are those by which a client that was not asked for more than TLS reaches a router: directly, and through an upgrade where it
// has one.
func ways(t *conformance.T) []string {
	if has(t, wire.WebSocket) {
		return []string{direct, wire.WebSocket}
	}
	return []string{direct}
}

// trial is a server that a client must not go on with.
type trial struct {
	name string
	script
}

// refuses dials each server. With silent a client that refuses sends nothing through the tunnel either; without it what counts is that
// no echo comes back.
func refuses(ctx context.Context, t *conformance.T, silent bool, list ...trial) (conformance.Observation, error) {
	if silent {
		return refusesBefore(ctx, t, sentAnything, list...)
	}
	return refusesBefore(ctx, t, func(*played, error) string { return "" }, list...)
}

// sentAnything is how a client that refused too late went on: through the tunnel.
func sentAnything(p *played, err error) string {
	if _, opened := errors.AsType[*echoError](err); opened {
		return "opened a tunnel"
	}
	if _, tunnel, _ := p.seen(); tunnel > 0 {
		return fmt.Sprintf("sent %d bytes into the tunnel before it gave up", tunnel)
	}
	return ""
}

// refusesBefore is refuses where went says how a client without an echo has gone on all the same, "" where it has not.
func refusesBefore(ctx context.Context, t *conformance.T, went func(p *played, err error) string, list ...trial) (conformance.Observation, error) {
	for _, trial := range list {
		p, err := play(ctx, t, trial.script)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := p.dialled(ctx)
		if conn != nil {
			_ = conn.Close()
		}
		p.stop()
		met, _, notes := p.seen()
		_, notRun := errors.AsType[*conformance.NotRunError](err)
		how := went(p, err)
		switch {
		case notRun:
			return conformance.Observation{}, err
		case err == nil:
			return conformance.Observation{Outcome: accepted, Detail: trial.name + ": the client opened a tunnel"}, nil
		case how != "":
			return conformance.Observation{Outcome: accepted, Detail: fmt.Sprintf("%s: the client %s: %v", trial.name, how, err)}, nil
		case met == 0:
			return conformance.Observation{}, fmt.Errorf("%s: the client never got as far as the server's answer: %w", trial.name, errors.Join(err, notes))
		case errors.Is(err, errStillDialling), t.Outcome(err) == conformance.Timeout:
			return conformance.Observation{Outcome: conformance.Timeout, Detail: trial.name + ": " + err.Error()}, nil
		}
	}
	return conformance.Observation{Outcome: rejected, Detail: fmt.Sprintf("%d servers", len(list))}, nil
}

// getThrough dials each server. A client passes that gets its echo.
func getThrough(ctx context.Context, t *conformance.T, list ...trial) (conformance.Observation, error) {
	for _, trial := range list {
		p, err := play(ctx, t, trial.script)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := p.dialled(ctx)
		if conn != nil {
			_ = conn.Close()
		}
		p.stop()
		_, _, notes := p.seen()
		if _, notRun := errors.AsType[*conformance.NotRunError](err); notRun {
			return conformance.Observation{}, err
		}
		if err != nil {
			out := conformance.Lost
			if errors.Is(err, errStillDialling) || t.Outcome(err) == conformance.Timeout {
				out = conformance.Timeout
			}
			return conformance.Observation{Outcome: out, Detail: fmt.Sprintf("%s: %v; the server: %v", trial.name, err, notes)}, nil
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d servers", len(list))}, nil
}
