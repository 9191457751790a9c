package conformance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"syscall"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Alert is the outcome "the peer sent this TLS alert".
func Alert(code uint8) Outcome { return Outcome(fmt.Sprintf("alert:%d", code)) }

// HTTPStatus is the outcome "the peer answered with this status".
func HTTPStatus(code int) Outcome { return Outcome(fmt.Sprintf("http:%d", code)) }

// Outcome says what an error of dialling, handshaking, reading or writing means about the peer. An error that is none of the
// peer's doing (a certificate that does not verify, an answer that is not TLS) is "error: …" and no check accepts it.
func (t *T) Outcome(err error) Outcome {
	o := outcome(err)
	if err != nil {
		t.rec.Notef("seen as %s: %v", o, err)
	}
	return o
}

func outcome(err error) Outcome {
	var status *wire.StatusError
	var raw *wire.AlertError
	var closed *wire.CloseError
	var timeout net.Error
	code, remote := remoteAlert(err)
	switch {
	case err == nil:
		return Intact
	case errors.As(err, &raw):
		return Alert(raw.Code)
	case remote:
		return Alert(code)
	case errors.As(err, &status):
		return HTTPStatus(status.Response.Status)
	case errors.As(err, &closed):
		return Outcome(fmt.Sprintf("ws-close:%d", closed.Code))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return RST
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Truncated
	case errors.Is(err, io.EOF):
		return FIN
	}
	return Outcome("error: " + err.Error())
}

// remoteAlert finds the alert in an error of crypto/tls. Outside QUIC it is of an unexported type (a uint8) in a net.OpError
// whose Op says which side sent it; crypto/tls offers no other way to the number.
func remoteAlert(err error) (uint8, bool) {
	if quic, ok := errors.AsType[tls.AlertError](err); ok {
		return uint8(quic), true
	}
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return uint8(v.Uint()), true
	}
	return 0, false
}

// CloseNotify says whether a TLS session that T opened, and on which a Read has answered io.EOF, ended with close_notify.
// crypto/tls itself answers io.EOF to a FIN at a record boundary too; see [wire.EndWatch].
func CloseNotify(conn *tls.Conn) bool {
	w, ok := conn.NetConn().(*wire.EndWatch)
	return ok && !w.Ended()
}

// Served asks the witness on an open connection and compares both sides: what came back to the client and what the witness
// itself recorded under the nonce, which is what is returned. The outcome is Routed, Misrouted or that of the error.
func (t *T) Served(ctx context.Context, conn net.Conn, name string) (Observation, witness.Record) {
	nonce := t.NewNonce()
	rec, err := t.Ask(conn, witness.Order{Nonce: nonce})
	if err != nil {
		return Observation{Outcome: t.Outcome(err), Detail: err.Error()}, rec
	}
	if out := t.Expect(rec, name); out != Routed || rec.Nonce != nonce {
		return Observation{Outcome: Misrouted, Detail: fmt.Sprintf("witness %s answered with nonce %s, not %s with %s", rec.Witness, rec.Nonce, name, nonce)}, rec
	}
	own, err := t.Record(ctx, name, nonce, false)
	if err != nil {
		return Observation{Outcome: Lost, Detail: fmt.Sprintf("the client was answered, but the witness has no record: %v", err)}, rec
	}
	return Observation{Outcome: Routed, Detail: "witness " + own.Witness}, own
}

// NotDialled waits for Silence and says whether no witness accepted a connection since Accepted was before; if one did it says
// how many. The wait is needed because a connection is counted when the witness gets to accept it. An end of ctx cuts the wait
// short; the engine does not believe what is seen then.
func (t *T) NotDialled(ctx context.Context, before int64) (string, bool) {
	timer := time.NewTimer(t.Silence())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	n := t.Accepted() - before
	t.rec.Notef("silence is over, %d connections came to the witnesses", n)
	if n != 0 {
		return fmt.Sprintf("a backend was dialled %d times", n), false
	}
	return "", true
}

// Dialled is the outcome "a backend was dialled though it must not be".
const Dialled Outcome = "dialled"

// NotRunError makes the verdict NOT-RUN: what the check needs is not there.
type NotRunError struct{ Reason string }

// UnsupportedError makes the verdict UNSUPPORTED: the target has turned out not to do what is asked about.
type UnsupportedError = door.UnsupportedError

func (e *NotRunError) Error() string { return "not run: " + e.Reason }
