package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of checks of how long connections are used.
const (
	reused       conformance.Outcome = "reused"
	notReused    conformance.Outcome = "not-reused"
	reusedClosed conformance.Outcome = "reused-after-close"
	goneInTime   conformance.Outcome = "goaway-in-time"
	goneEarly    conformance.Outcome = "goaway-early"
	noGoAway     conformance.Outcome = "no-goaway"
)

const (
	h2Requests = 10_000 // that an HTTP/2 connection takes
	h2Slack    = 1_000  // more, until GOAWAY is missed
	h2Flight   = 100    // on their way at a time: fewer than the 128 streams that there may be
	h2Patience = 5      // waits for each answer: so many requests keep a small machine busy
)

func init() {
	balancer(conformance.Check{
		ID: "ALB-KA-02", Slug: "alb-h2-requests", Level: conformance.Must,
		Title: "An HTTP/2 connection gets GOAWAY at 10,000 requests",
		Why: "A busy client loses its connection every few minutes, for no reason that it can see. One that does not handle GOAWAY fails its " +
			"requests then. The requests are TRACE, which no target sees; the other half of this row, the keep-alive limit, is an hour.",
		Clauses: clauses(fact("ALB-KA-02", "D", "AWS, Application Load Balancers: troubleshooting", troublePage)),
		Timeout: 3 * time.Minute, // on a machine that does a hundred other things
		Accept:  pass("GOAWAY, at 10,000 requests and not before", goneInTime), Run: overTLS(manyRequests),
		Forbid: map[conformance.Outcome]string{goneEarly: "GOAWAY before 10,000 requests", noGoAway: "no GOAWAY at 11,000 requests"},
	})
	balancer(conformance.Check{
		ID: "ALB-KA-03", Slug: "alb-target-pool", Level: conformance.Must,
		Title: "A connection to the target is used for another request, unless the target has said close",
		Why: "Requests of different clients share a connection to the target, so that nothing a target remembers by connection is one client's. One " +
			"that the target has said it will close is not to be used: the request on it would be lost.",
		Clauses: clauses(fact("ALB-KA-03", "D", "AWS, How Elastic Load Balancing works", howPage), rfc(9112, "9.6")),
		Accept: append(pass("used again, and not once the target has said close", reused),
			tolerate("AWS says that a connection can be used again, not that it must", notReused)...),
		Run:    sharesConnections,
		Forbid: map[conformance.Outcome]string{reusedClosed: "a request came on a connection that the target had said it would close"},
	})
}

// arrival is a request at the target, and the connection it came on.
type arrival struct {
	conn net.Conn
	req  *wire.Request
	old  bool
}

// arrives waits for a request on the connection that there is, or on a new one.
func arrives(ctx context.Context, t *conformance.T, have net.Conn) (arrival, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		arrival
		err error
	}
	onNew, onOld := make(chan result, 1), make(chan result, 1)
	go func() {
		c, _, err := t.AcceptStub(ctx)
		if err != nil {
			onNew <- result{err: err}
			return
		}
		within(t, c)
		req, rest, err := wire.ReadRequest(c)
		onNew <- result{arrival{rest, req, false}, err}
	}()
	within(t, have)
	go func() {
		req, rest, err := wire.ReadRequest(have)
		onOld <- result{arrival{rest, req, true}, err}
	}()
	var a, b result
	select {
	case a = <-onOld:
		if a.err == nil {
			cancel()
		}
		b = <-onNew
	case b = <-onNew:
		if b.err == nil {
			_ = have.SetReadDeadline(time.Now())
		}
		a = <-onOld
	}
	if a.err == nil {
		return a.arrival, nil
	}
	if b.err == nil {
		return b.arrival, nil
	}
	return arrival{}, fmt.Errorf("the request reached the target neither on the connection that there was nor on a new one: %w", errors.Join(a.err, b.err))
}

// reuseTries is how many requests are sent until one comes on the connection that there is: the client may have its answer before the
// balancer has put the target's connection by.
const reuseTries = 5

const (
	keepsOpen = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	saysClose = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
)

func sharesConnections(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	c, err := carry(ctx, t, front, get(t))
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	if err := answeredOn(t, front, c.rest, keepsOpen); err != nil {
		return conformance.Observation{}, err
	}
	clients := 1
	for ; clients <= reuseTries; clients++ {
		a, client, err := another(ctx, t, c.rest)
		if err != nil {
			return conformance.Observation{}, err
		}
		if err := answeredOn(t, client, a.conn, saysClose); err != nil {
			return conformance.Observation{}, err
		}
		if a.old {
			break
		}
		_ = a.conn.Close()
	}
	if clients > reuseTries {
		return saw(notReused, "%d requests of as many clients, each on a connection of its own", clients), nil
	}
	last, client, err := another(ctx, t, c.rest) // which the target leaves open: it is the balancer that must not use it
	switch {
	case err != nil:
		return conformance.Observation{}, err
	case last.old:
		return saw(reusedClosed, "a request came on a connection whose last answer said close"), nil
	}
	if err := answeredOn(t, client, last.conn, servedByTarget); err != nil {
		return conformance.Observation{}, err
	}
	return saw(reused, "the request of client %d came on the first's connection, the next one behind Connection: close on another", clients+1), nil
}

// another sends a request on a connection of its own and says where it came.
func another(ctx context.Context, t *conformance.T, have net.Conn) (arrival, net.Conn, error) {
	client, err := t.HTTP(ctx)
	if err != nil {
		return arrival{}, nil, err
	}
	if err := bounded(t, client, []byte(get(t))); err != nil {
		return arrival{}, nil, err
	}
	a, err := arrives(ctx, t, have)
	return a, client, err
}

// answeredOn answers at the target and reads the answer at the client.
func answeredOn(t *conformance.T, client, target net.Conn, raw string) error {
	if err := bounded(t, target, []byte(raw)); err != nil {
		return fmt.Errorf("answering as the target: %w", err)
	}
	within(t, client)
	resp, rest, err := wire.ReadResponse(client)
	if err != nil {
		return err
	}
	_, err = resp.Body(rest, 16)
	return err
}

func manyRequests(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	if one, _, err := overH2Decides(ctx, t, "TRACE", ""); err != nil {
		return one, err
	} else if one.Outcome == passedOn {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "TRACE reaches the target here, and 10,000 requests would be its to answer"}
	}
	conn, h, err := frontH2(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	if err := h.WriteWindowUpdate(0, 1<<30); err != nil { // the pages of the answers are not read, and must not hold them up
		return conformance.Observation{}, err
	}
	sent, answers := 0, 0
	last, longest := time.Now(), time.Duration(0)
	for answers < h2Requests+h2Slack {
		longest, last = max(longest, time.Since(last)), time.Now()
		_ = conn.SetDeadline(last.Add(h2Patience * t.Wait()))
		for ; sent-answers < h2Flight; sent++ {
			if _, err := h.Ask(nil, pseudo(t, "TRACE")...); err != nil {
				return saw(t.Outcome(err), "writing request %d, %d answered: %v", sent+1, answers, err), nil
			}
		}
		frame, err := h.ReadFrame()
		if err != nil {
			return saw(t.Outcome(err), "%d requests, %d answered: %v", sent, answers, err), nil
		}
		ended := false
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			ended = f.StreamEnded()
		case *http2.DataFrame:
			ended = f.StreamEnded()
		case *http2.RSTStreamFrame:
			ended = true
		case *http2.GoAwayFrame:
			if idle := t.Path.IdleTimeout; sent < h2Requests && idle > 0 && longest > idle/2 {
				return conformance.Observation{}, fmt.Errorf("%w: %v without a frame at an idle timeout of %v, and then GOAWAY at %d requests", conformance.ErrStalled, longest, idle, sent)
			}
			if sent < h2Requests {
				return saw(goneEarly, "GOAWAY (%v) at %d requests, %d answered", f.ErrCode, sent, answers), nil
			}
			return saw(goneInTime, "GOAWAY (%v) at %d requests, of which %d had been answered", f.ErrCode, sent, answers), nil
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = h.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = h.WritePing(true, f.Data)
			}
		}
		if err != nil {
			return saw(t.Outcome(err), "%d requests, %d answered: %v", sent, answers, err), nil
		}
		if ended {
			answers++
		}
	}
	return saw(noGoAway, "%d requests, all answered", answers), nil
}
