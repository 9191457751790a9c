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
	conn, _, err := p.t.Target.Dial(limited, p.request)
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
	p, err := play(ctx, t, script{typ: wire.WebSocket, answer: honest})
	if err != nil {
		return err
	}
	defer p.stop()
	conn, err := p.dialled(ctx)
	if err != nil {
		_, _, notes := p.seen()
		return fmt.Errorf("the client could not dial an honest server: %w", errors.Join(err, notes))
	}
	_ = conn.Close() // the server may be gone first, and then its farewell cannot be answered
	return nil
}
