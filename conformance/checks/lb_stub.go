package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// alone is the outcome "the balancer answered in the place of its target".
const alone conformance.Outcome = "answered-alone"

const awsDocs = "https://docs.aws.amazon.com/elasticloadbalancing/latest/"

// fact is a clause that says what a load balancer does, by its row in the table of what is known of it and the grade that the row has.
func fact(row, grade, doc, url string) result.Clause {
	return result.Clause{Doc: doc, Section: row + " in docs/alb-rows.md", Grade: grade, URL: url}
}

// balancer registers a check of a load balancer.
func balancer(c conformance.Check) {
	// What is asked for here is what an AWS ALB does: another product that does otherwise has not failed at anything.
	c.Role, c.Origin, c.Features = conformance.LoadBalancer, conformance.Vendor, append([]string{"aws-alb"}, c.Features...)
	control := c.Control
	if control == nil {
		control = carries
	}
	c.Control = func(ctx context.Context, t *conformance.T) error {
		t.DrainStub()
		return control(ctx, t)
	}
	conformance.Register(c)
}

// carried is one request on its way through the balancer, seen from both ends.
type carried struct {
	front net.Conn   // the client's end
	back  *wire.Conn // the target's end, TLS done
	rest  net.Conn   // back, behind the request
	hello wire.Hello
	req   *wire.Request
}

func (c *carried) close() {
	_ = c.front.Close()
	_ = c.back.Close()
}

// errAlone says that the balancer answered by itself; the answer is with it.
type errAlone struct{ resp *wire.Response }

func (e *errAlone) Error() string {
	return fmt.Sprintf("the balancer answered %d %s in the place of its target", e.resp.Status, e.resp.Reason)
}

// errDropped says that an upgrade request reached the target as a plain one.
type errDropped struct{ lines []string }

func (e *errDropped) Error() string {
	return "the request reached the target without its Upgrade: " + strings.Join(e.lines, " | ")
}

// carry sends a request on front and takes it at the target.
func carry(ctx context.Context, t *conformance.T, front net.Conn, raw string) (*carried, error) {
	if err := bounded(t, front, []byte(raw)); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	back, hello, err := t.AcceptStub(ctx)
	if err != nil {
		within(t, front)
		if resp, _, respErr := wire.ReadResponse(front); respErr == nil {
			return nil, &errAlone{resp}
		}
		return nil, err
	}
	within(t, back)
	req, rest, err := wire.ReadRequest(back)
	if err != nil {
		return nil, fmt.Errorf("as the target: %w", err)
	}
	return &carried{front, back, rest, hello, req}, nil
}

// answer is the target's answer, read at the client's end. The connection returned begins behind its header.
func (c *carried) answer(t *conformance.T, raw string) (*wire.Response, net.Conn, error) {
	if err := bounded(t, c.back, []byte(raw)); err != nil {
		return nil, nil, fmt.Errorf("answering as the target: %w", err)
	}
	within(t, c.front)
	return wire.ReadResponse(c.front)
}

const servedByTarget = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

// get is a request of the upgrade path with these field lines.
func get(t *conformance.T, lines ...string) string {
	if len(lines) == 0 {
		lines = []string{"Accept: */*"}
	}
	return request(t, lines...)
}

// carries is the positive control: a plain request is carried to the target and its answer back.
func carries(ctx context.Context, t *conformance.T) error {
	front, err := t.HTTP(ctx)
	if err != nil {
		return err
	}
	return serves(ctx, t, front)
}

func serves(ctx context.Context, t *conformance.T, front net.Conn) error {
	defer front.Close()
	c, err := carry(ctx, t, front, get(t))
	if err != nil {
		return err
	}
	defer c.close()
	resp, rest, err := c.answer(t, servedByTarget)
	if err != nil {
		return err
	}
	body, err := resp.Body(rest, 16)
	if err != nil || resp.Status != 200 || string(body) != "ok" {
		return fmt.Errorf("the target's answer came back as %d %q: %w", resp.Status, body, err)
	}
	return nil
}

// tunnelled is a tunnel through the balancer: the target agrees to whatever is asked for.
type tunnelled struct {
	client, target net.Conn
	req            *wire.Request
	resp           *wire.Response
}

func (c *tunnelled) close() {
	_ = c.client.Close()
	_ = c.target.Close()
}

// asks is the upgrade request of a type with both fields, as a client sends it.
func asks(t *conformance.T, typ string) string {
	return string(wire.Upgrade{Type: typ, Host: t.Path.Upgrade.Host, Path: t.Path.Upgrade.Path}.Request())
}

func agrees(req *wire.Request) string {
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + req.Header.Get("Upgrade") + "\r\nConnection: Upgrade\r\n"
	if key := req.Header.Get("Sec-Websocket-Key"); key != "" {
		head += strings.Join(honest(req), "\r\n") + "\r\n"
	}
	return head + "\r\n"
}

// through101 makes a tunnel. An *errAlone or *errDropped says that the balancer did not let it through.
func through101(ctx context.Context, t *conformance.T, typ string) (*tunnelled, error) {
	return switches(ctx, t, asks(t, typ), typ)
}

// switches is through101 for a request of the check's own that asks for that token.
func switches(ctx context.Context, t *conformance.T, raw, token string) (*tunnelled, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return nil, err
	}
	c, err := carry(ctx, t, front, raw)
	if err != nil {
		return nil, err
	}
	if !wire.HasToken(c.req.Header, "Upgrade", token) {
		_, _, _ = c.answer(t, servedByTarget) // whatever comes of it
		return nil, errors.Join(&errDropped{c.req.Lines}, c.back.Close())
	}
	resp, rest, err := c.answer(t, agrees(c.req))
	if err != nil {
		return nil, fmt.Errorf("waiting for the 101: %w", err)
	}
	if resp.Status != 101 {
		return nil, &errAlone{resp}
	}
	return &tunnelled{rest, c.rest, c.req, resp}, nil
}

// unlessAlone turns the error of a request that did not come through into what was seen.
func unlessAlone(err error) (conformance.Observation, error) {
	if less, ok := errors.AsType[*errDropped](err); ok {
		return conformance.Observation{Outcome: dropped, Detail: less.Error()}, nil
	}
	if own, ok := errors.AsType[*errAlone](err); ok {
		return conformance.Observation{Outcome: alone, Detail: own.Error()}, nil
	}
	return conformance.Observation{}, err
}

// frontTLS is a handshake with the balancer's listener that offers these protocols.
func frontTLS(ctx context.Context, t *conformance.T, alpn ...string) (*tls.Conn, error) {
	c, err := t.TCP(ctx)
	if err != nil {
		return nil, &harnessError{err}
	}
	up := t.Path.Upgrade
	return t.TLS(ctx, c, &tls.Config{ServerName: up.ServerName, RootCAs: up.Roots, NextProtos: alpn, MinVersion: tls.VersionTLS12})
}

// exchangeBytes goes both ways: what one end writes the other reads, and the same back.
func exchangeBytes(t *conformance.T, a, b net.Conn, data []byte) conformance.Observation {
	for _, way := range []struct {
		name     string
		from, to net.Conn
	}{{"to the target", a, b}, {"to the client", b, a}} {
		within(t, way.from)
		within(t, way.to)
		sent := make(chan error, 1)
		go func() { _, err := way.from.Write(data); sent <- err }()
		got := make([]byte, len(data))
		n, err := io.ReadFull(way.to, got)
		if err != nil {
			_ = way.from.Close() // lets the writer go
		}
		werr := <-sent
		switch {
		case err != nil:
			return conformance.Observation{Outcome: t.Outcome(err), Detail: fmt.Sprintf("%s: %d of %d bytes came: %v", way.name, n, len(data), err)}
		case werr != nil:
			return conformance.Observation{Outcome: t.Outcome(werr), Detail: fmt.Sprintf("%s: %v", way.name, werr)}
		case string(got) != string(data):
			return conformance.Observation{
				Outcome: conformance.Corrupted, Detail: fmt.Sprintf("%s: byte %d differs", way.name, firstDifference(got, data)), Diff: conformance.Difference(data, got, 0),
			}
		}
	}
	return conformance.Observation{Outcome: conformance.Intact, Detail: fmt.Sprintf("%d bytes each way", len(data))}
}
