package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of the checks that wait.
const (
	alive    conformance.Outcome = "alive"
	cut      conformance.Outcome = "cut"
	cutOn    conformance.Outcome = "cut-in-time" // by the idle timeout, when it was due
	cutEarly conformance.Outcome = "cut-early"
	cutLate  conformance.Outcome = "cut-late"
	stays    conformance.Outcome = "never-cut"
)

// longestIdle is the longest idle timeout that is sat out; an ALB's default of 60 s would make a run take minutes.
const longestIdle = 5 * time.Second

func init() {
	docs := result.Clause{
		Doc: "AWS, Application Load Balancers: connection idle timeout",
		URL: "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html",
	}
	kal := func(c conformance.Check) {
		c.Role, c.Transports, c.Control = conformance.Router, upgraded, opens("a")
		c.Features = append([]string{"terminate", "upgrade"}, c.Features...)
		c.Tags = []string{conformance.NeedsIdle, "timing"}
		c.Timeout = 5 * longestIdle
		conformance.Register(c)
	}
	kal(conformance.Check{
		ID: "KAL-01", Slug: "under-idle", Level: conformance.Must, Origin: conformance.Policy, Features: []string{"websocket"},
		Title: "A tunnel that is silent but for pings lives through three idle timeouts",
		Why: "Load balancers cut what is silent for a minute. Database pools and interactive shells are silent for hours. Without pings from the " +
			"router they find their connection dead at the next query, and the log says only that somebody else closed it.",
		Clauses: clauses(docs, rfc(6455, "5.5.2"), policy("section 5, WebSocket tunnels are pinged, alpn-ping by its frames")),
		Accept:  pass("the tunnel still carries bytes", alive), Run: underIdle,
		Forbid: map[conformance.Outcome]string{cut: "the pings are too far apart, or do not come"},
	})
	kal(conformance.Check{
		ID: "KAL-02", Slug: "idle-close", Level: conformance.Info, Origin: conformance.Policy, Features: []string{"alpn"},
		Title: "How a tunnel without pings is cut when the path's idle timeout is over",
		Why: "Who operates a path wants to know what an idle cut looks like at both ends, to find it in a log. Whatever it looks like to the " +
			"client, to the backend it must not look like the end of the data.",
		Clauses: clauses(docs, policy("section 8, a TLS side that ends without close_notify is an abort")), Accept: pass("cut within a fifth of the declared time, and an abort to the backend", cutOn), Run: idleClose,
		Forbid: map[conformance.Outcome]string{
			clean: "an idle cut was shown as a regular end: half of the data is taken for the whole",
			stays: "not cut at all", cutEarly: "cut before it was due", cutLate: "cut after it was due", late: "the backend was told too late",
		},
	})
	kal(conformance.Check{
		ID: "KAL-06", Slug: "one-way", Level: conformance.Should, Origin: conformance.Policy, Features: []string{"alpn"},
		Title: "Traffic in one direction keeps the tunnel",
		Why: "A long upload or download has nothing to say the other way for minutes. A timer that wants to see both directions cuts exactly " +
			"the connections that are busy.",
		Clauses: clauses(docs), Accept: pass("the tunnel still carries bytes", alive), Run: oneWay,
		Forbid: map[conformance.Outcome]string{cut: "the tunnel was cut while bytes flowed"},
	})
}

// idle is the path's idle timeout, if it can be waited for.
func idle(t *conformance.T) (time.Duration, error) {
	if t.Path.IdleTimeout > longestIdle {
		return 0, &conformance.NotRunError{Reason: fmt.Sprintf("the idle timeout of the path is %v: more than %v is not waited for", t.Path.IdleTimeout, longestIdle)}
	}
	return t.Path.IdleTimeout, nil
}

// overTunnel opens route a through a tunnel of that type.
func overTunnel(ctx context.Context, t *conformance.T, typ string) (*tlsConn, net.Conn, error) {
	tunnel, err := t.Tunnel(ctx, typ)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := t.Config("a")
	if err != nil {
		return nil, nil, err
	}
	conn, err := t.TLS(ctx, tunnel, cfg)
	return conn, tunnel, err
}

// inParallel runs one function for each name and reports the worst observation.
func inParallel(t *conformance.T, names []string, run func(name string) (conformance.Observation, error)) (conformance.Observation, error) {
	seen, errs := make([]conformance.Observation, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			seen[i], errs[i] = run(name)
			seen[i].Detail = name + ": " + seen[i].Detail
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return conformance.Observation{}, err
	}
	details := make([]string, len(seen))
	for i, o := range seen {
		details[i] = o.Detail
	}
	o := worst(t, seen)
	o.Detail = strings.Join(details, "; ")
	return o, nil
}

// underIdle: tunnels of the two types that have pings, in parallel, silent for three timeouts; then an echo.
func underIdle(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	types := []string{wire.WebSocket}
	if slices.Contains(t.Path.Upgrade.Types, wire.ALPNPing) {
		types = append(types, wire.ALPNPing)
	}
	type open struct {
		conn  *tlsConn
		pings func() int64
	}
	tunnels := map[string]open{}
	for _, typ := range types {
		conn, tunnel, err := overTunnel(ctx, t, typ)
		if err != nil {
			return conformance.Observation{}, err
		}
		if _, err := t.Ask(conn, witness.Order{Do: witness.Echo}); err != nil {
			return conformance.Observation{}, err
		}
		tunnels[typ] = open{conn, tunnel.(wire.Pinged).Pings} //nolint:forcetypeassert // both types count
	}
	t.AtRest()
	longest := pauses(timeout / 20)
	o, err := inParallel(t, types, func(typ string) (conformance.Observation, error) {
		conn, pings := tunnels[typ].conn, tunnels[typ].pings
		start := time.Now()
		_ = conn.SetReadDeadline(start.Add(3 * timeout))
		_, err := conn.Read(make([]byte, 1)) // answers the pings meanwhile
		lasted := time.Since(start).Round(10 * time.Millisecond)
		if t.Outcome(err) != conformance.Timeout {
			return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("%v after %v and %d pings; the idle timeout is %v", err, lasted, pings(), timeout)}, nil
		}
		if err := roundTrip(t, conn); err != nil {
			return conformance.Observation{Outcome: cut, Detail: fmt.Sprintf("open for %v, %d pings, and then: %v", lasted, pings(), err)}, nil
		}
		return conformance.Observation{Outcome: alive, Detail: fmt.Sprintf("%v of silence at an idle timeout of %v, %d pings", lasted, timeout, pings())}, nil
	})
	// What pings and what answers them may have been kept from running as this was.
	if pause := longest(); err == nil && o.Outcome == cut && pause >= timeout/2 {
		err = fmt.Errorf("%w (a pause of %v): %s", conformance.ErrStalled, pause.Round(10*time.Millisecond), o.Detail)
	}
	return o, err
}

// idleClose leaves a raw tunnel, which nobody pings, alone.
func idleClose(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	timeout, err := idle(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	conn, _, err := overTunnel(ctx, t, wire.ALPN)
	if err != nil {
		return conformance.Observation{}, err
	}
	nonce := t.NewNonce()
	before := time.Now()
	if _, err := t.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Echo}); err != nil {
		return conformance.Observation{}, err
	}
	start := time.Now()
	t.AtRest()
	_ = conn.SetReadDeadline(start.Add(timeout + t.Wait()))
	_, err = conn.Read(make([]byte, 1))
	took := since(before, start)
	how := t.Outcome(err)
	if how == conformance.Timeout {
		return conformance.Observation{Outcome: stays, Detail: fmt.Sprintf("still open after %v; the idle timeout is said to be %v", took.least.Round(10*time.Millisecond), timeout)}, nil
	}
	tolerance := max(timeout/5, t.Silence())
	o, slow := cutWhen(took, timeout, tolerance)
	if how == conformance.FIN && conformance.CloseNotify(conn) {
		o.Outcome = clean
	}
	at := endAtWitness(ctx, t, nonce, time.Now())
	if at.Outcome == clean {
		o.Outcome = clean
	}
	o.Detail = fmt.Sprintf("the client saw %s after %v (declared %v); %s", how, took.least.Round(10*time.Millisecond), timeout, at.Detail)
	if o.Outcome != clean && slow != nil {
		return conformance.Observation{}, fmt.Errorf("%s: %w", o.Detail, slow)
	}
	return o, nil
}

// cutWhen says whether an idle timeout was kept to. The tolerance grows with the round-trip time, which a busy machine stretches: one of
// nearly half the timeout still tells what is wrong, and no more what is right.
func cutWhen(took span, timeout, tolerance time.Duration) (conformance.Observation, error) {
	when, err := took.against(timeout-tolerance, timeout+tolerance)
	if when == 0 && err == nil && tolerance > 2*timeout/5 {
		err = fmt.Errorf("%w: cut within %v of the declared %v", conformance.ErrStalled, tolerance.Round(time.Millisecond), timeout)
	}
	return conformance.Observation{Outcome: map[int]conformance.Outcome{-1: cutEarly, 0: cutOn, 1: cutLate}[when]}, err
}
