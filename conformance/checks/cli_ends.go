package checks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// cleanEnd is the outcome "what was cut off looked like a regular end".
const cleanEnd conformance.Outcome = "clean-end"

// answerSize is how much still comes behind an end: more than one record, less than a socket's buffer.
const answerSize = 48 << 10

func init() {
	clientCheck(conformance.Check{
		ID: "TUN-04-C", Slug: "half-close-c2s-client", Level: conformance.Must, Origin: conformance.Policy, Features: anyClient, Control: dialsAnyWay,
		Title: "When the application ends its side, the router is told with close_notify, and the answer still arrives",
		Why: "\"Send everything, end, read the answer\" is how rsync, nc and many batch protocols work. A client that ends the whole connection at the end of its " +
			"input loses the answer; one that sends no close_notify makes the upload look cut off.",
		Clauses: clauses(policy("section 7, dial"), rfc(9846, "6.1")), Accept: pass("close_notify arrives, and the answer behind it", conformance.Intact),
		Forbid: map[conformance.Outcome]string{
			conformance.Lost: "the answer did not arrive, or not all of it", conformance.Truncated: "the end came without close_notify",
			conformance.Timeout: "the end of the application's side did not reach the router",
		},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return overWays(ctx, t, endsFirst)
		},
	})
	clientCheck(conformance.Check{
		ID: "TUN-05-C", Slug: "half-close-s2c-client", Level: conformance.Should, Origin: conformance.Policy, Features: anyClient, Control: dialsAnyWay,
		Title: "When the router ends its side, what the application still sends arrives",
		Why: "A server may have said everything while the client is still sending: an upload behind a greeting, a log stream. In TLS 1.3 an end concerns one " +
			"direction only. A client that leaves at the first end loses the other's bytes without an error.",
		Clauses: clauses(policy("section 7, dial"), rfc(9846, "6.1")), Accept: pass("every byte arrives behind the router's end", conformance.Intact),
		Forbid: map[conformance.Outcome]string{conformance.Lost: "bytes that the application sent behind the router's end did not arrive"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return overWays(ctx, t, endsLast)
		},
	})
	clientCheck(conformance.Check{
		ID: "TUN-07-C", Slug: "truncation-client", Level: conformance.Must, Origin: conformance.Policy, Features: anyClient, Control: dialsAnyWay,
		Title: "An end of the stream without close_notify is not shown to the application as a regular one",
		Why: "Whoever can cut a connection can shorten a message: half a dump that looks whole is worse than an error. An adapter tells the difference by " +
			"its exit status.",
		Clauses: clauses(policy("section 7, dial"), rfc(9846, "6.1")), Accept: pass("the application gets an error", rejected),
		Forbid: map[conformance.Outcome]string{cleanEnd: "a stream that was cut off ended like one that was whole", conformance.Timeout: "the application waits for the rest of a stream that is gone"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			return overWays(ctx, t, cutShort)
		},
	})
}

// overWays looks at each way the client has, up to the first that is not accepted.
func overWays(ctx context.Context, t *conformance.T, look func(context.Context, *conformance.T, string) (conformance.Observation, error)) (o conformance.Observation, err error) {
	for _, typ := range ways(t) {
		o, err = look(ctx, t, typ)
		o.Detail = typ + ": " + o.Detail
		if err != nil || t.Check.Forbid[o.Outcome] != "" {
			return o, err
		}
	}
	return o, nil
}

// abrupt says whether a stream below a TLS session ended without close_notify.
func abrupt(conn *tls.Conn) bool {
	w, ok := conn.NetConn().(*wire.EndWatch)
	return ok && w.Ended()
}

func endsFirst(ctx context.Context, t *conformance.T, typ string) (conformance.Observation, error) {
	cut := false
	answer := bytes.Repeat([]byte("answer "), answerSize/7)
	p, err := play(ctx, t, script{typ: typ, answer: honest, serve: func(_ *played, conn *tls.Conn) error {
		_, err := io.Copy(conn, conn)
		cut = err != nil || abrupt(conn)
		if err != nil {
			return err
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
		return conn.CloseWrite()
	}})
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := p.dialled(ctx)
	if err != nil {
		p.stop()
		return conformance.Observation{}, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(t.Wait()))
	err = wire.CloseWrite(conn)
	got, readErr := io.ReadAll(io.LimitReader(conn, answerSize*2))
	_ = conn.Close()
	p.stop()
	o := conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d bytes of %d came", len(got), len(answer))}
	switch {
	case t.Outcome(readErr) == conformance.Timeout:
		o.Outcome = conformance.Timeout
	case !bytes.Equal(got, answer):
		o.Outcome = conformance.Lost
	case cut:
		o.Outcome = conformance.Truncated
	}
	if o.Outcome != conformance.Intact {
		o.Detail += fmt.Sprintf("; %v; the server: %v", errors.Join(err, readErr), errors.Join(p.notes...))
	}
	return o, nil
}

func endsLast(ctx context.Context, t *conformance.T, typ string) (conformance.Observation, error) {
	upload := bytes.Repeat([]byte("upload "), answerSize/7)
	ended := make(chan struct{})
	var got []byte
	p, err := play(ctx, t, script{typ: typ, answer: honest, serve: func(_ *played, conn *tls.Conn) error {
		defer close(ended)
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err == nil {
			_, err = conn.Write(buf[:n])
		}
		if err == nil {
			err = conn.CloseWrite()
		}
		if err != nil {
			return err
		}
		got, err = io.ReadAll(io.LimitReader(conn, answerSize*2))
		return err
	}})
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := p.dialled(ctx)
	if err != nil {
		p.stop()
		return conformance.Observation{}, err
	}
	within(t, conn)
	// the router's end is seen before anything else is sent
	_, readErr := io.Copy(io.Discard, conn)
	_, writeErr := conn.Write(upload)
	endErr := wire.CloseWrite(conn)
	select { // who closes now may take the upload with it
	case <-ended:
	case <-time.After(t.Wait()):
	}
	_ = conn.Close()
	p.stop()
	o := conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d bytes of %d came", len(got), len(upload))}
	if !bytes.Equal(got, upload) {
		o.Outcome = conformance.Lost
		o.Detail += fmt.Sprintf("; %v; the server: %v", errors.Join(readErr, writeErr, endErr), errors.Join(p.notes...))
	}
	return o, nil
}

func cutShort(ctx context.Context, t *conformance.T, typ string) (conformance.Observation, error) {
	p, err := play(ctx, t, script{typ: typ, answer: honest, serve: func(p *played, conn *tls.Conn) error {
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err == nil {
			_, err = conn.Write(append(buf[:n], "the beginning of what is cut off"...))
		}
		return err // and who accepted closes the socket, without a close_notify
	}})
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, err := p.dialled(ctx)
	if err != nil {
		p.stop()
		return conformance.Observation{}, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(t.Wait()))
	got, err := io.ReadAll(io.LimitReader(conn, answerSize))
	_ = conn.Close()
	p.stop()
	o := conformance.Observation{Outcome: rejected, Detail: fmt.Sprintf("%q, then %v", got, err)}
	switch {
	case err == nil:
		o.Outcome = cleanEnd
	case t.Outcome(err) == conformance.Timeout:
		o.Outcome = conformance.Timeout
	}
	return o, nil
}
