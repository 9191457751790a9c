package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// AcceptStub plays the target of a load balancer under test: it takes the next connection that the balancer opens, ends TLS on it
// when the balancer begins with a ClientHello, and returns it traced. A connection that ends before it says anything, such as one
// left over from a check before, is passed over. Wait bounds the accepting, and the handshake after it.
func (t *T) AcceptStub(ctx context.Context) (*wire.Conn, wire.Hello, error) {
	var c *wire.Conn
	var hello wire.Hello
	err := t.acceptStub(ctx, func(raw net.Conn) (err error) {
		c, hello, err = t.stubTLS(ctx, raw)
		return err
	})
	if err != nil {
		return nil, hello, err
	}
	return c, hello, t.keep(ctx, c)
}

// AcceptRaw is AcceptStub for a check that ends TLS on the connection itself: nothing of it has been read that is not read again.
func (t *T) AcceptRaw(ctx context.Context) (net.Conn, error) {
	var c net.Conn
	err := t.acceptStub(ctx, func(raw net.Conn) error {
		traced := wire.NewConn(raw, t.rec, "target")
		restore := t.deadline(ctx, traced)
		defer restore()
		first := make([]byte, 1)
		_, err := traced.Read(first)
		c = wire.WithPrefix(traced, first)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, t.keep(ctx, c)
}

// drainFor is how long connections of the balancer that nobody waits for are looked for: those that are there already are had at once.
const drainFor = time.Millisecond

// DrainStub closes what the balancer has opened and nobody has accepted: connections that a check before has left.
func (t *T) DrainStub() {
	ln, ok := t.Target.Stub.(interface {
		net.Listener
		SetDeadline(time.Time) error
	})
	if !ok || ln.SetDeadline(time.Now().Add(drainFor)) != nil {
		return
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		t.Logf("a connection of the balancer that was left was closed")
		_ = c.Close()
	}
}

// acceptStub hands what the balancer opens to take until that takes one.
func (t *T) acceptStub(ctx context.Context, take func(net.Conn) error) error {
	ln, ok := t.Target.Stub.(interface {
		net.Listener
		SetDeadline(time.Time) error
	})
	if !ok {
		return errors.New("the target has no stub to accept on")
	}
	at := time.Now().Add(t.Wait())
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		at = d
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = ln.SetDeadline(time.Now())
	})
	defer func() {
		if !stop() {
			<-ended // or it would cut short the accepting of whoever comes next
		}
	}()
	for {
		if err := errors.Join(ctx.Err(), ln.SetDeadline(at)); err != nil {
			return fmt.Errorf("accepting as the target: %w", err)
		}
		if ctx.Err() != nil { // between the two: the deadline that ends the accepting has been taken away
			continue
		}
		raw, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accepting as the target: %w", err)
		}
		if err := take(raw); err != nil {
			t.Logf("a connection of the balancer was passed over: %v", err)
			_ = raw.Close()
			continue
		}
		return nil
	}
}

func (t *T) stubTLS(ctx context.Context, raw net.Conn) (*wire.Conn, wire.Hello, error) {
	c := wire.NewConn(raw, t.rec, "target")
	restore := t.deadline(ctx, c)
	defer restore()
	buf := make([]byte, 4096)
	var head []byte
	for {
		n, err := c.Read(buf)
		head = append(head, buf[:n]...)
		hello, _, parseErr := wire.ParseHello(head)
		switch {
		case err != nil && len(head) == 0:
			return nil, hello, err
		case head[0] != 22:
			return wire.NewConn(wire.WithPrefix(c, head), t.rec, "target-http"), hello, nil
		case parseErr == nil && t.Target.StubCertificate == nil:
			return nil, hello, errors.New("the balancer speaks TLS, and the target has no certificate for the stub")
		case parseErr == nil:
			conn := tls.Server(wire.WithPrefix(c, head), &tls.Config{
				Certificates: []tls.Certificate{*t.Target.StubCertificate}, KeyLogWriter: &t.keylog,
				ClientAuth: tls.RequestClientCert, // asked for, so that a balancer that has one shows it
			})
			if err := conn.Handshake(); err != nil {
				return nil, hello, err
			}
			return wire.NewConn(conn, t.rec, "target-http"), hello, nil
		case !errors.Is(parseErr, wire.ErrNeedMore):
			return nil, hello, parseErr
		case err != nil:
			return nil, hello, err
		}
	}
}

// saneBalancer is the sanity of a load balancer with a stub behind it: a plain request is carried to the target and its answer back.
// It returns the time of a round trip, taken to be twice that of the answer's way: the request's includes a handshake.
func (t *T) saneBalancer(ctx context.Context) (time.Duration, error) {
	c, err := t.HTTP(ctx)
	if err != nil {
		return 0, err
	}
	type answer struct {
		at  time.Time
		err error
	}
	served, nonce := make(chan answer, 1), t.NewNonce()
	go func() {
		at, err := t.answerOnce(ctx, nonce)
		served <- answer{at, err}
	}()
	restore := t.deadline(ctx, c)
	defer restore()
	up := t.Path.Upgrade
	_, err = fmt.Fprintf(c, "GET %s?%s HTTP/1.1\r\nHost: %s\r\n\r\n", up.Path, nonce, up.Host)
	var resp *wire.Response
	if err == nil {
		resp, _, err = wire.ReadResponse(c)
	}
	end := time.Now()
	target := <-served
	err = errors.Join(err, target.err)
	if err == nil && resp.Status != 200 {
		err = fmt.Errorf("the balancer answered %d, not the target's 200", resp.Status)
	}
	return 2 * end.Sub(target.at), err
}

// answerOnce answers the request with the nonce and says when it did. Others, which a check before may have left, are passed over.
func (t *T) answerOnce(ctx context.Context, nonce string) (at time.Time, err error) {
	for {
		c, _, err := t.AcceptStub(ctx)
		if err != nil {
			return at, err
		}
		restore := t.deadline(ctx, c)
		var head []byte
		buf := make([]byte, 4096)
		for err == nil && !bytes.Contains(head, []byte("\r\n\r\n")) && len(head) <= wire.MaxHeader {
			var n int
			n, err = c.Read(buf)
			head = append(head, buf[:n]...)
		}
		if !bytes.Contains(head, []byte(nonce)) {
			t.Logf("a request of the balancer was passed over: %.80q %v", head, err)
			_ = c.Close()
			continue
		}
		at = time.Now()
		if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")); err != nil {
			return at, fmt.Errorf("answering the balancer: %w", err)
		}
		restore()
		return at, nil
	}
}
