package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of the group OPS.
const (
	drained     conformance.Outcome = "drained"
	cutOff      conformance.Outcome = "cut"         // a tunnel ended at once
	taken       conformance.Outcome = "accepts"     // new connections were served
	endless     conformance.Outcome = "endless"     // a tunnel lived on behind the deadline
	ready       conformance.Outcome = "still-ready" // the readiness check said yes
	inForce     conformance.Outcome = "in-force"
	notInForce  conformance.Outcome = "old-config"
	tookBad     conformance.Outcome = "took-bad-config"
	noneFailed  conformance.Outcome = "none-failed"
	failedSome  conformance.Outcome = "handshakes-failed"
	undisturbed conformance.Outcome = "undisturbed"
)

const (
	drainTimeout  = 2 * time.Second
	openTunnels   = 50  // of OPS-02
	manyHandshake = 300 // of OPS-03
	handshakers   = 4
	reloads       = 5
)

// onItsOwn is the fixture on an instance of its own, with a short drain and an admin port.
func onItsOwn(name string) *conformance.Setup {
	return &conformance.Setup{Name: name, Alone: true, Change: func(_ conformance.Fixture, doc *door.Router) {
		doc.Drain.Timeout = drainTimeout.String()
		doc.Admin = "127.0.0.1:0"
	}}
}

func init() {
	register := func(c conformance.Check) {
		c.Role, c.Origin, c.Transports = conformance.Router, conformance.Policy, directOnly
		c.Features = append([]string{"terminate"}, c.Features...)
		c.Clauses = append(c.Clauses, policy("section 5, reload and drain"))
		c.Timeout = 30 * time.Second
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "OPS-01", Slug: "drain", Level: conformance.Should, Features: []string{"drain"},
		Title: "A drain says that it is not ready, takes nobody new, lets tunnels live to the deadline and then ends them",
		Why: "Every rollout drains every router. One that cuts its tunnels at once breaks each database session of the day's deployments; one " +
			"that never ends them is killed by the orchestrator, which is worse.",
		Setup: onItsOwn("drain"), Tags: []string{"timing"},
		Accept: pass("no new connection, the tunnels until the deadline", drained),
		Forbid: map[conformance.Outcome]string{
			cutOff: "a tunnel was cut although the deadline was not over", taken: "new connections were served while draining",
			endless: "a tunnel outlived the deadline", ready: "the readiness check goes on sending clients here",
		},
		Control: opens("a"), Run: drains,
	})
	register(conformance.Check{
		ID: "OPS-02", Slug: "reload", Level: conformance.Must, Features: []string{"reload"},
		Title: "A reload leaves tunnels alone, is in force for what comes after it, and is refused whole when it is bad",
		Why: "Certificates and routes change many times a day. A reload that drops tunnels turns each into an outage; one that takes half of a " +
			"bad file leaves a router that nobody has configured.",
		Setup:  onItsOwn("reload"),
		Accept: pass("the tunnels go on, new connections follow the new table, a bad document changes nothing", inForce),
		Forbid: map[conformance.Outcome]string{
			cutOff: "a tunnel was cut by the reload", notInForce: "a new connection followed the old table", tookBad: "a document was taken that is not valid",
			conformance.Misrouted: "a connection went elsewhere than either table says",
		},
		Control: opens("a"), Run: reloadsTable,
	})
	register(conformance.Check{
		ID: "OPS-03", Slug: "rotate-cert", Level: conformance.Should, Features: []string{"reload"},
		Title: "No handshake fails while certificates are loaded anew",
		Why: "Certificates that live for days are renewed under load. A moment without a listener, or with a new key and the old certificate, " +
			"is seen by whoever connects just then.",
		Setup:   onItsOwn("rotate"),
		Accept:  pass("every handshake beside the reloads succeeds", noneFailed),
		Forbid:  map[conformance.Outcome]string{failedSome: "handshakes failed beside a reload"},
		Control: opens("a"), Run: rotates,
	})
	register(conformance.Check{
		ID: "OPS-04", Slug: "health-noise", Tags: []string{conformance.Counts}, Level: conformance.Should,
		Title: "Health checks by TCP, by HTTP or by half a ClientHello reach no backend",
		Why: "Load balancers open a connection to every target every few seconds and close it again. If each of them is a connection to the " +
			"database behind it, its log and its connection limit are full of nobody.",
		Setup:   onItsOwn("noise"),
		Accept:  pass("no backend is dialled, and clients are served as before", undisturbed),
		Forbid:  map[conformance.Outcome]string{conformance.Dialled: "a backend was dialled for a health check"},
		Control: opens("a"), Run: healthNoise,
	})
}

// echoes tells whether a tunnel carries an echo.
func echoes(t *conformance.T, conn net.Conn, what string) error {
	msg := []byte(what + " " + t.Nonce)
	if err := bounded(t, conn, msg); err != nil {
		return err
	}
	got := make([]byte, len(msg))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != string(msg) {
		return fmt.Errorf("%q came back for %q", got, msg)
	}
	return nil
}

// tunnelsTo opens n tunnels to a route, each answered by its witness.
func tunnelsTo(ctx context.Context, t *conformance.T, route string, n int) ([]*tls.Conn, error) {
	var list []*tls.Conn
	for range n {
		conn, err := t.Open(ctx, route)
		if err != nil {
			return nil, err
		}
		if _, err := t.Ask(conn, witness.Order{}); err != nil {
			return nil, err
		}
		list = append(list, conn)
	}
	return list, nil
}

func drains(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	tunnels, err := tunnelsTo(ctx, t, "a", 1)
	if err != nil {
		return conformance.Observation{}, err
	}
	tunnel := tunnels[0]
	begun := time.Now()
	if err := t.Instance.Drain(ctx); err != nil {
		return conformance.Observation{}, err
	}
	// A drain begins when it begins: what is new is refused soon, not at once.
	refused := false
	for until := time.Now().Add(drainTimeout / 2); !refused && time.Now().Before(until); pause(ctx, t.Gap()) {
		conn, err := t.Open(ctx, "a")
		if refused = err != nil; !refused {
			conn.Close()
		}
	}
	t.AtRest()
	if err := echoes(t, tunnel, "while draining"); err != nil {
		return conformance.Observation{Outcome: cutOff, Detail: fmt.Sprintf("%v behind the drain: %v", time.Since(begun).Round(time.Millisecond), err)}, nil
	}
	if !refused {
		return conformance.Observation{Outcome: taken, Detail: fmt.Sprintf("%v behind the drain", time.Since(begun).Round(time.Millisecond))}, nil
	}
	if says, err := readiness(ctx, t); err == nil && says < 300 {
		return conformance.Observation{Outcome: ready, Detail: fmt.Sprintf("/readyz says %d", says)}, nil
	}
	if err := tunnel.SetReadDeadline(begun.Add(drainTimeout + t.Wait())); err != nil {
		return conformance.Observation{}, err
	}
	if _, err := tunnel.Read(make([]byte, 1)); t.Outcome(err) == conformance.Timeout {
		return conformance.Observation{Outcome: endless, Detail: fmt.Sprintf("%v behind the drain, its deadline being %v", time.Since(begun).Round(time.Millisecond), drainTimeout)}, nil
	}
	return conformance.Observation{Outcome: drained, Detail: fmt.Sprintf("the tunnel ended %v behind the drain", time.Since(begun).Round(10*time.Millisecond))}, nil
}

// readiness asks the admin port; an error says that there is none, or that it has gone.
func readiness(ctx context.Context, t *conformance.T) (int, error) {
	if t.Instance.Admin() == "" {
		return 0, errors.New("no admin port")
	}
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.Instance.Admin()+"/readyz", http.NoBody)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// exchanged is the document with the backends of routes a and b in each other's place.
func exchanged(doc door.Router) door.Router {
	doc.Routes = slices.Clone(doc.Routes)
	a := slices.IndexFunc(doc.Routes, func(r door.Route) bool { return r.Name == "a" })
	b := slices.IndexFunc(doc.Routes, func(r door.Route) bool { return r.Name == "b" })
	doc.Routes[a].Backend, doc.Routes[b].Backend = doc.Routes[b].Backend, doc.Routes[a].Backend
	return doc
}

func reloadsTable(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	tunnels, err := tunnelsTo(ctx, t, "a", openTunnels)
	if err != nil {
		return conformance.Observation{}, err
	}
	alive := func(when string) (conformance.Observation, bool) {
		for i, conn := range tunnels {
			if err := echoes(t, conn, when); err != nil {
				return conformance.Observation{Outcome: cutOff, Detail: fmt.Sprintf("tunnel %d of %d, %s: %v", i+1, len(tunnels), when, err)}, false
			}
		}
		return conformance.Observation{}, true
	}
	bad := t.Instance.Document
	bad.Certificates = []door.Certificate{{Cert: "/nonexistent/cert.pem", Key: "/nonexistent/key.pem"}}
	err = t.Instance.Reload(ctx, bad)
	var unsupported *conformance.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		return conformance.Observation{}, err
	case err == nil:
		return conformance.Observation{Outcome: tookBad, Detail: "a certificate that does not exist"}, nil
	}
	if o, ok := alive("behind a bad reload"); !ok {
		return o, nil
	}
	if gone := opens("a")(ctx, t); gone != nil {
		o := conformance.Observation{Outcome: tookBad, Detail: "behind a reload that was refused: " + gone.Error()}
		return o, nil //nolint:nilerr // that the target is gone is what was seen
	}
	if err := t.Instance.Reload(ctx, exchanged(t.Instance.Document)); err != nil {
		return conformance.Observation{}, err
	}
	if o, ok := alive("behind the reload"); !ok {
		return o, nil
	}
	conn, err := t.Open(ctx, "a")
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
	}
	o, rec := t.Served(ctx, conn, t.Target.Fixture.WitnessB)
	switch {
	case o.Outcome == conformance.Routed:
		o.Outcome = inForce
	case o.Outcome == conformance.Misrouted && rec.Witness == t.Target.Fixture.WitnessA:
		o.Outcome = notInForce
	}
	o.Detail = fmt.Sprintf("%d tunnels live on; a new one: %s", len(tunnels), o.Detail)
	return o, nil
}

func rotates(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards what follows
	var failures []string
	for range handshakers {
		wg.Go(func() {
			for range manyHandshake / handshakers {
				conn, err := t.Open(ctx, "a")
				if err == nil {
					err = conn.Close()
				}
				if err != nil {
					mu.Lock()
					failures = append(failures, err.Error())
					mu.Unlock()
				}
			}
		})
	}
	var failed error
	doc := t.Instance.Document
	for range reloads {
		doc = exchanged(doc)
		failed = errors.Join(failed, t.Instance.Reload(ctx, doc))
	}
	wg.Wait()
	if failed != nil {
		return conformance.Observation{}, failed
	}
	if len(failures) > 0 {
		return conformance.Observation{Outcome: failedSome, Detail: fmt.Sprintf("%d of %d beside %d reloads, the first: %s", len(failures), manyHandshake, reloads, failures[0])}, nil
	}
	return conformance.Observation{Outcome: noneFailed, Detail: fmt.Sprintf("%d beside %d reloads", manyHandshake, reloads)}, nil
}

func healthNoise(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	for _, say := range []string{"", "GET /healthz HTTP/1.1\r\nHost: health.check\r\nConnection: close\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc"} {
		for range 5 {
			conn, err := t.TCP(ctx)
			if err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
			}
			if say != "" {
				err = bounded(t, conn, []byte(say))
			}
			if err = errors.Join(err, conn.Close()); err != nil {
				return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, nil
			}
		}
	}
	o := undialled(ctx, t, before, conformance.Observation{Outcome: undisturbed, Detail: "15 connections that said nothing of use"})
	if o.Outcome != undisturbed {
		return o, nil
	}
	if err := opens("a")(ctx, t); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "afterwards: " + err.Error()}, nil
	}
	return o, nil
}
