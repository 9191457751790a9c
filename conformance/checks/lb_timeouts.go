package checks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	"golang.org/x/net/http2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// keepAliveEvery is the shortest interval of TCP keep-alives there is.
const keepAliveEvery = time.Second

func init() {
	const doc = "AWS, Application Load Balancers: connection idle timeout"
	const trouble = "AWS, Application Load Balancers: troubleshooting"
	onTime := func(more map[conformance.Outcome]string) map[conformance.Outcome]string {
		forbid := map[conformance.Outcome]string{cutEarly: "cut before it was due", cutLate: "cut after it was due", stays: "not cut at all"}
		maps.Copy(forbid, more)
		return forbid
	}
	const within = "closed within a tenth of the declared time"
	waits(conformance.Check{
		ID: "ALB-IDLE-01", Slug: "alb-idle-connection", Level: conformance.Must,
		Title: "A client's connection that is silent behind its request is closed at the idle timeout",
		Why: "A client with a pool of connections has to close them first, or its next request meets a connection that is being closed. The number " +
			"that operators set is what the balancer has to keep to.",
		Clauses: clauses(fact("ALB-IDLE-01", "D", doc, attributesPage)),
		Accept:  pass(within, cutOn), Run: idleConnection, Forbid: onTime(nil),
	})
	waits(conformance.Check{
		ID: "ALB-IDLE-03", Slug: "alb-idle-keepalive", Level: conformance.Must,
		Title: "TCP keep-alives do not hold a tunnel open",
		Why: "Operators turn keep-alives on and believe that their tunnels are safe. They hold one open behind a network balancer, and not behind " +
			"this one: only bytes of the application do.",
		Clauses: clauses(fact("ALB-IDLE-03", "D", doc, attributesPage)),
		Accept:  pass(within, cutOn), Run: keptAlive, Forbid: onTime(nil),
	})
	waits(conformance.Check{
		ID: "ALB-IDLE-04", Slug: "alb-idle-h2-ping", Level: conformance.Must,
		Title: "PING frames of HTTP/2 do not hold a connection open",
		Why: "gRPC clients ping to keep their connection. Each ping is answered, and the connection goes away under them all the same, which looks " +
			"like a fault of the network.",
		Clauses: clauses(fact("ALB-IDLE-04", "D", doc, attributesPage)),
		Accept:  pass("GOAWAY or the end within a tenth of the declared time, though pings went out", cutOn), Run: overTLS(pinged), Forbid: onTime(nil),
	})
	waits(conformance.Check{
		ID: "ALB-IDLE-06", Slug: "alb-idle-target", Level: conformance.Must,
		Title: "A target that is silent for longer than the idle timeout is 504 to the client",
		Why: "A slow request that runs into the timeout goes on at the target while the client is told that there is no answer. That it is 504 tells " +
			"this from a target that has crashed.",
		Clauses: clauses(fact("ALB-IDLE-06", "D", trouble, troublePage)),
		Accept:  pass("504, and not before it is due", conformance.HTTPStatus(504)), Run: silentTarget,
		Forbid: onTime(map[conformance.Outcome]string{
			conformance.FIN: "the client is left without an answer", conformance.RST: "the client is left without an answer", conformance.HTTPStatus(502): "502 is for a target that closes",
		}),
	})
	waits(conformance.Check{
		ID: "ALB-IDLE-07", Slug: "alb-idle-client", Level: conformance.Must,
		Title: "A client that stops in the middle of its request is answered with 408 at the idle timeout",
		Why: "Half a request holds a connection, and many of them hold all of a server's. The balancer takes that upon itself, and the target never " +
			"hears of it.",
		Clauses: clauses(fact("ALB-IDLE-07", "D", trouble, troublePage)),
		Accept:  pass("408, and not before it is due", conformance.HTTPStatus(408)), Run: silentClient,
		Forbid: onTime(map[conformance.Outcome]string{
			conformance.FIN: "the client is left without an answer", conformance.RST: "the client is left without an answer", conformance.Timeout: "the connection is held for ever",
		}),
	})
}

// idleConnection begins to wait when the answer is there: the balancer's clock has started by then.
func idleConnection(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = front.Close() }()
	before := time.Now()
	o, resp, rest := decides(ctx, t, front, get(t))
	if o.Outcome != passedOn {
		return o, nil
	}
	if wire.HasToken(resp.Header, "Connection", "close") {
		return conformance.Observation{}, &conformance.NotRunError{Reason: "the balancer closes the connection behind a request"}
	}
	if _, err := resp.Body(rest, 16); err != nil {
		return conformance.Observation{}, err
	}
	return endsOnTime(t, "the client", before, timeout, func(until time.Time) error {
		_ = rest.SetReadDeadline(until)
		_, err := rest.Read(make([]byte, 1))
		return err
	})
}

// endsOnTime waits in read until the end, and says whether that came when it was due. The balancer's clock has started between before
// and now.
func endsOnTime(t *conformance.T, who string, before time.Time, timeout time.Duration, read func(until time.Time) error) (conformance.Observation, error) {
	start := time.Now()
	err := read(start.Add(timeout + t.Wait()))
	took, how := since(before, start), t.Outcome(err)
	o := saw(stays, "%s saw %s after %v (declared %v)", who, how, took.least.Round(10*time.Millisecond), timeout)
	if how == conformance.Timeout {
		return o, nil
	}
	when, slow := cutWhen(took, timeout, max(timeout/10, t.Silence()))
	o.Outcome = when.Outcome
	return o, slow
}

func keptAlive(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	if timeout < 3*keepAliveEvery/2 {
		return conformance.Observation{}, &conformance.NotRunError{Reason: fmt.Sprintf("an idle timeout of %v is too short for a keep-alive, which comes after %v at the earliest", timeout, keepAliveEvery)}
	}
	c, err := through101(ctx, t, wire.WebSocket)
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	for _, conn := range []net.Conn{c.client, c.target} {
		tcp, ok := wire.TCP(conn)
		if !ok {
			return conformance.Observation{}, errors.New("no TCP connection below")
		}
		if err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveEvery, Interval: keepAliveEvery, Count: 9}); err != nil {
			return conformance.Observation{}, fmt.Errorf("turning keep-alives on: %w", err)
		}
	}
	before := time.Now()
	if err := oneByte(t, c.client, c.target, 1); err != nil {
		return conformance.Observation{}, fmt.Errorf("a byte through the tunnel: %w", err)
	}
	return endsOnTime(t, "the target", before, timeout, func(until time.Time) error {
		_ = c.target.SetReadDeadline(until)
		_, err := c.target.Read(make([]byte, 1))
		return err
	})
}

// pinged has carried no request: a PING in every quarter of the timeout is all that there is.
func pinged(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	before := time.Now()
	conn, h, err := frontH2(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer conn.Close()
	pings, acks := 0, 0
	o, err := endsOnTime(t, "the client", before, timeout, func(until time.Time) error {
		for next := time.Now(); ; {
			if !time.Now().Before(next) {
				next = time.Now().Add(timeout / steps)
				_ = conn.SetWriteDeadline(next)
				if err := h.WritePing(false, [8]byte{'t', 'r', 'b'}); err != nil {
					return err
				}
				pings++
			}
			_ = conn.SetReadDeadline(minTime(next, until))
			frame, err := h.ReadFrame()
			switch {
			case err == nil:
			case t.Outcome(err) == conformance.Timeout && time.Now().Before(until):
				continue
			default:
				return err
			}
			switch f := frame.(type) {
			case *http2.GoAwayFrame:
				return wire.ErrGoAway
			case *http2.PingFrame:
				if f.IsAck() {
					acks++
				}
			}
		}
	})
	o.Detail += fmt.Sprintf("; %d pings, %d of them answered", pings, acks)
	return o, err
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func silentTarget(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	before := time.Now()
	c, err := carry(ctx, t, front, get(t))
	if err != nil {
		return unlessAlone(err)
	}
	defer c.close()
	return answeredOnTime(t, c.front, before, timeout)
}

func silentClient(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = front.Close() }()
	before := time.Now()
	if err := bounded(t, front, []byte(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nX-Trb-Half", t.Path.Upgrade.Path, t.Path.Upgrade.Host))); err != nil {
		return conformance.Observation{}, err
	}
	return answeredOnTime(t, front, before, timeout)
}

// answeredOnTime waits for an answer of the balancer's own.
func answeredOnTime(t *conformance.T, front net.Conn, before time.Time, timeout time.Duration) (conformance.Observation, error) {
	var resp *wire.Response
	o, err := endsOnTime(t, "the client", before, timeout, func(until time.Time) (err error) {
		_ = front.SetDeadline(until)
		resp, _, err = wire.ReadResponse(front)
		return err
	})
	switch {
	case resp != nil && o.Outcome == cutOn:
		return saw(conformance.HTTPStatus(resp.Status), "after %v (declared %v)", time.Since(before).Round(10*time.Millisecond), timeout), err
	case resp != nil:
		o.Detail = fmt.Sprintf("%d %s: %s", resp.Status, resp.Reason, o.Detail)
	case o.Outcome == cutOn: // the end, and no answer before it
		o.Outcome = conformance.FIN
	}
	return o, err
}
