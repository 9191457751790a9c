package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of the checks of pings.
const (
	found     conformance.Outcome = "found-dead"
	notFound  conformance.Outcome = "not-found-dead"
	tooHasty  conformance.Outcome = "found-dead-early"
	oddlyDead conformance.Outcome = "found-dead-late"
)

const (
	closePing  = 800 * time.Millisecond  // KAL-03: the interval of pings
	closeIdle  = 1300 * time.Millisecond // and the idle timeout, too little above it for a ping left out
	closeTimes = 2                       // cycles, in each of two tunnels a type, for the catalogue's 1,000
	deadPing   = 200 * time.Millisecond  // KAL-05
	deadPong   = 1200 * time.Millisecond
)

func pingedEvery(name string, interval, pong time.Duration) *conformance.Setup {
	return &conformance.Setup{Name: name, Alone: true, Change: func(_ conformance.Fixture, doc *door.Router) {
		doc.Upgrade.PingInterval = interval.String()
		if pong > 0 {
			doc.Upgrade.PongTimeout = pong.String()
		}
	}}
}

func init() {
	flaps := result.Clause{Doc: "mattermost/docs issue 8929", URL: "https://github.com/mattermost/docs/issues/8929"}
	conformance.Register(conformance.Check{
		ID: "KAL-03", Slug: "ping-eq-timeout", Level: conformance.Should, Origin: conformance.Policy, Role: conformance.Router, Transports: upgraded,
		Features: []string{"terminate", "upgrade", "websocket"}, Setup: pingedEvery("close-pings", closePing, 0), Tags: []string{conformance.Timing}, Timeout: 45 * time.Second,
		Title: "Pings hold a tunnel under an idle timeout that is hardly longer than their interval, whatever has passed in between",
		Why: "Pings every minute under an idle timeout of a minute work in the test and cut a connection now and then in the field. A router that leaves " +
			"out a ping because there was traffic a moment ago, or is late with it, makes a path of twice the interval flap as well.",
		Clauses: clauses(policy("section 5, WebSocket tunnels are pinged, alpn-ping by its frames"), rfc(6455, "5.5.2"), flaps), Control: opens("a"), Run: closePings,
		Accept: pass("no tunnel is cut", alive),
		Forbid: map[conformance.Outcome]string{cut: "a tunnel was cut: two pings, or a ping and the bytes before it, were too far apart"},
	})
	balancer(conformance.Check{
		ID: "KAL-04", Slug: "h2-ping", Level: conformance.Info, Tags: []string{conformance.NeedsIdle, conformance.Timing}, Timeout: 5 * longestIdle,
		Title: "PING frames of HTTP/2 do not start the idle timeout again",
		Why: "HTTP/2 clients ping by default and believe that this keeps a connection open. An AWS ALB answers and closes all the same; a simulator in " +
			"which pings count lets a client pass that loses its connections in the field.",
		Clauses: clauses(fact("ALB-IDLE-04", "D", "AWS, Application Load Balancers: connection idle timeout", awsDocs+"application/edit-load-balancer-attributes.html"), rfc(9113, "6.7")),
		Accept:  pass("closed when it is due although PINGs came and were answered", cutOn), Run: h2Pings,
		Forbid: map[conformance.Outcome]string{
			stays: "PINGs kept the connection open: kinder than the real one", cutEarly: "closed before it was due", cutLate: "closed after it was due", noProtocol: "h2 is not spoken here",
		},
	})
	conformance.Register(conformance.Check{
		ID: "KAL-05", Slug: "pong-deadline", Level: conformance.Should, Origin: conformance.RFC, Role: conformance.Router, Transports: upgraded,
		Features: []string{"terminate", "upgrade", "websocket", "pong-timeout"}, Setup: pingedEvery("pongs", deadPing, deadPong), Tags: []string{conformance.Timing}, Timeout: 30 * time.Second,
		Title: "A peer that answers no ping is found dead when the declared time is over, and one that answers is not",
		Why: "A laptop that is closed sends no FIN. Its tunnel stays, and with it a session of the database and its locks, for as long as TCP takes to " +
			"give up: hours, if nothing is sent. Pings are there to find out, if somebody waits for the answer.",
		Clauses: clauses(rfc(6455, "5.5.2"), rfc(6455, "5.5.3")), Control: answersPings, Run: deadPeer,
		Accept: pass("the tunnel is ended behind the declared time, at both ends", found),
		Forbid: map[conformance.Outcome]string{
			notFound: "the tunnel of a dead peer stays", tooHasty: "ended before the declared time was over", oddlyDead: "ended long after the declared time",
		},
	})
}

// h2Pings sends nothing but PINGs on a connection of HTTP/2.
func h2Pings(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	before := time.Now()
	conn, err := frontTLS(ctx, t, "h2")
	if err != nil {
		return handshakeSeen(t, err)
	}
	defer conn.Close()
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		return conformance.Observation{Outcome: noProtocol, Detail: "h2 was offered and not taken: ALB-TLS-01 is about that"}, nil
	}
	framer, err := greetH2(t, conn)
	if err != nil {
		return conformance.Observation{}, err
	}
	start := time.Now()
	var pongs atomic.Int64
	ended := make(chan error, 1)
	_ = conn.SetDeadline(start.Add(timeout + t.Wait()))
	go func() { ended <- readH2(framer, &pongs) }()
	tick := time.NewTicker(timeout / 8)
	defer tick.Stop()
	pings := 0
	for {
		select {
		case err = <-ended:
		case <-tick.C:
			if framer.WritePing(false, [8]byte{byte(pings)}) == nil { // an end shows in reading
				pings++
			}
			continue
		}
		break
	}
	took := since(before, start)
	detail := fmt.Sprintf("%v after %v (declared %v), %d PINGs sent and %d answered", err, took.least.Round(10*time.Millisecond), timeout, pings, pongs.Load())
	if t.Outcome(err) == conformance.Timeout {
		return conformance.Observation{Outcome: stays, Detail: detail}, nil
	}
	o, slow := cutWhen(took, timeout, max(timeout/5, t.Silence()))
	o.Detail = detail
	return o, slow
}

// greetH2 sends what a client begins with (RFC 9113 section 3.4).
func greetH2(t *conformance.T, conn *tls.Conn) (*http2.Framer, error) {
	if err := bounded(t, conn, []byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	framer := http2.NewFramer(conn, conn)
	return framer, framer.WriteSettings()
}

// errGoAway says that the balancer said good-bye.
var errGoAway = errors.New("GOAWAY")

// readH2 counts answers to PINGs until the end. Settings are not acknowledged: writing belongs to another goroutine, and whoever sent
// them allows for more time than this takes.
func readH2(framer *http2.Framer, pongs *atomic.Int64) error {
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			if f.IsAck() {
				pongs.Add(1)
			}
		case *http2.GoAwayFrame:
			return errGoAway
		}
	}
}

// answersPings is the control: who answers lives on when the dead would be found.
func answersPings(ctx context.Context, t *conformance.T) error {
	conn, _, err := overTunnel(ctx, t, wire.WebSocket)
	if err != nil {
		return err
	}
	if _, err := t.Ask(conn, witness.Order{Do: witness.Echo}); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(deadPing + 2*deadPong))
	if _, err := conn.Read(make([]byte, 1)); t.Outcome(err) != conformance.Timeout {
		return fmt.Errorf("a tunnel whose pings are answered: %w", err)
	}
	if err := roundTrip(t, conn); err != nil {
		return err
	}
	return conn.Close()
}

// deadPeer reads what comes and answers nothing.
func deadPeer(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, tunnel, err := overTunnel(ctx, t, wire.WebSocket)
	if err != nil {
		return conformance.Observation{}, err
	}
	nonce := t.NewNonce()
	before := time.Now()
	if _, err := t.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Echo}); err != nil {
		return conformance.Observation{}, err
	}
	below, ok := tunnel.(interface{ Unwrap() net.Conn })
	if !ok {
		return conformance.Observation{}, errors.New("the tunnel has no connection below")
	}
	raw := below.Unwrap()
	start := time.Now()
	t.AtRest()
	declared := deadPing + deadPong
	_ = raw.SetReadDeadline(start.Add(declared + 2*t.Wait()))
	n, err := io.Copy(io.Discard, raw) // the pings, and at last a close frame
	took, atMost := time.Since(start), time.Since(before)
	detail := fmt.Sprintf("%v and %d bytes after %v; pings every %v, answers within %v", err, n, took.Round(10*time.Millisecond), deadPing, deadPong)
	switch {
	case t.Outcome(err) == conformance.Timeout:
		return conformance.Observation{Outcome: notFound, Detail: detail}, nil
	case atMost < deadPong*4/5:
		return conformance.Observation{Outcome: tooHasty, Detail: detail}, nil
	case took > declared+t.Wait():
		return conformance.Observation{Outcome: oddlyDead, Detail: detail}, nil
	}
	rec, err := t.Record(ctx, witnessOf(t, "a"), nonce, true)
	if err != nil {
		return conformance.Observation{Outcome: notFound, Detail: fmt.Sprintf("%s; the backend was not told: %v", detail, err)}, nil
	}
	return conformance.Observation{Outcome: found, Detail: detail + fmt.Sprintf("; the backend saw %q", rec.End)}, nil
}
