package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of checks that compare before and behind.
const (
	truthful conformance.Outcome = "truthful"
	lying    conformance.Outcome = "lying"
	returned conformance.Outcome = "returned"
)

const (
	leakTunnels = 2000 // of OPS-06, for the catalogue's 100,000
	leakWarm    = 200  // before the first look: pools and stacks that have grown stay
	leakEach    = 8 << 10
	leakFDs     = 128 // as fuzzExtras
)

func init() {
	register := func(c conformance.Check) {
		c.Role, c.Origin, c.Transports = conformance.Router, conformance.Policy, directOnly
		c.Features = append([]string{"terminate"}, c.Features...)
		c.Control, c.Timeout = opens("a"), 60*time.Second
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "OPS-05", Slug: "metrics-truth", Level: conformance.Should, Features: []string{"tlsroute-metrics"}, Setup: onItsOwn("metrics"),
		Title: "The counters say what the witness saw: connections by route, tunnels that are open, bytes both ways",
		Why: "Alarms and capacity plans are made from counters. One that forgets refusals hides an attack, one that counts twice sends somebody to look " +
			"for traffic that there was not, and nobody finds out, for there is nothing to compare them with.",
		Clauses: clauses(policy("section 5, metrics")), Run: metricsTruth,
		Accept: pass("each difference is what the witness and the client have counted", truthful),
		Forbid: map[conformance.Outcome]string{lying: "a counter differs from what happened"},
	})
	register(conformance.Check{
		ID: "OPS-06", Slug: "leak", Level: conformance.Must, Setup: onItsOwn("leak"),
		Title: "Descriptors and memory come back when tunnels have ended",
		Why: "A router lives for weeks. What each connection leaves behind adds up to the night in which there are no descriptors left, and the graph " +
			"that would have shown it has looked like growth all the time.",
		Clauses: clauses(policy("section 8, the tunnel")), Run: leaksNothing,
		Accept: pass(fmt.Sprintf("no more than %d descriptors and %d KiB a tunnel are left, a policy of this suite", leakFDs, leakEach>>10), returned),
		Forbid: map[conformance.Outcome]string{leaks: "descriptors or memory were left behind"},
	})
}

// metered counts what goes over a connection.
type metered struct {
	*tls.Conn
	in, out int64
}

func (c *metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in += int64(n)
	return n, err
}

func (c *metered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out += int64(n)
	return n, err
}

// sample is the sum of a counter over the lines of a Prometheus text that have all these labels.
func sample(text, name string, labels ...string) (sum int64) {
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		metric, rest, _ := strings.Cut(series, "{")
		for _, l := range labels {
			ok = ok && strings.Contains(rest, l)
		}
		if f, err := strconv.ParseFloat(value, 64); ok && metric == name && err == nil {
			sum += int64(f)
		}
	}
	return sum
}

// The names are those of our router (refimpl/router/admin): no document says what others call them.
const (
	seriesEnded  = "tlsroute_router_connections_total"
	seriesActive = "tlsroute_router_tunnels_active"
	seriesBytes  = "tlsroute_router_bytes_total"
)

// metricsTruth makes connections of each kind, counts them and their bytes, and compares.
func metricsTruth(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	pause(ctx, t.Silence()) // the control's own connection is counted when it is over
	before, err := scrape(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	const toA, toB, refusals = 12, 5, 3
	var conns []*metered
	var in, out int64
	for i := range toA + toB {
		route := "a"
		if i >= toA {
			route = "b"
		}
		conn, err := t.Open(ctx, route)
		if err != nil {
			return conformance.Observation{}, err
		}
		c := &metered{Conn: conn}
		nonce := t.NewNonce()
		if _, err := t.Ask(c, witness.Order{Nonce: nonce}); err != nil {
			return conformance.Observation{}, err
		}
		asked := c.out
		if err := echoes(t, c, strings.Repeat("x", 100*i)); err != nil {
			return conformance.Observation{}, err
		}
		if rec, err := t.Record(ctx, witnessOf(t, route), nonce, false); err != nil || rec.In != c.out-asked {
			return conformance.Observation{}, fmt.Errorf("the witness has %d bytes, %d were sent (%w)", rec.In, c.out-asked, err)
		}
		conns, in, out = append(conns, c), in+c.out, out+c.in
	}
	for range refusals {
		if o := handshake(ctx, t, t.Name("nobody-has-this-name"), "trb-a"); !isRefusal(o.Outcome) && o.Outcome != answered {
			return conformance.Observation{}, fmt.Errorf("a name that no route has: %s", o.Outcome)
		}
	}
	during, err := scrape(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	if n := sample(during, seriesActive); n != toA+toB {
		return conformance.Observation{Outcome: lying, Detail: fmt.Sprintf("%s is %d, and %d tunnels are open", seriesActive, n, toA+toB)}, nil
	}
	for _, c := range conns {
		if err := orderlyEnd(t, c.Conn); err != nil {
			return conformance.Observation{}, err
		}
	}
	wants := []struct {
		name, label string
		want        int64
	}{
		{seriesEnded, `route="a"`, toA}, {seriesEnded, `route="b"`, toB}, {seriesEnded, `route=""`, refusals}, {seriesBytes, `direction="in"`, in}, {seriesBytes, `direction="out"`, out},
	}
	var wrong string
	for until := time.Now().Add(t.Wait()); ; pause(ctx, 10*time.Millisecond) { // a connection is counted a moment behind its end
		after, err := scrape(ctx, t)
		if err != nil {
			return conformance.Observation{}, err
		}
		wrong = ""
		for _, w := range wants {
			if got := sample(after, w.name, w.label) - sample(before, w.name, w.label); got != w.want && wrong == "" {
				wrong = fmt.Sprintf("%s{%s} grew by %d, and %d was counted here", w.name, w.label, got, w.want)
			}
		}
		if wrong == "" || time.Now().After(until) || ctx.Err() != nil {
			break
		}
	}
	if wrong != "" {
		return conformance.Observation{Outcome: lying, Detail: wrong}, nil
	}
	return conformance.Observation{Outcome: truthful, Detail: fmt.Sprintf("%d connections to two routes, %d refused, %d bytes in, %d out", toA+toB, refusals, in, out)}, nil
}

// orderlyEnd ends an echo from this side and reads to the other's end.
func orderlyEnd(t *conformance.T, conn net.Conn) error {
	within(t, conn)
	if err := wire.CloseWrite(conn); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return err
	}
	return conn.Close()
}

// leaksNothing opens and ends tunnels, and looks at the process before and behind.
func leaksNothing(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	pid, err := foreign(t)
	if err != nil {
		return conformance.Observation{}, err
	}
	if err := comeAndGo(ctx, t, leakWarm); err != nil {
		return conformance.Observation{}, err
	}
	pause(ctx, t.Silence())
	fds, err := descriptors(pid)
	if err != nil {
		return conformance.Observation{}, err
	}
	memory, err := resident(pid)
	if err != nil {
		return conformance.Observation{}, err
	}
	if err := comeAndGo(ctx, t, leakTunnels); err != nil {
		return conformance.Observation{}, err
	}
	for until := time.Now().Add(t.Wait()); ; pause(ctx, 20*time.Millisecond) {
		nowFDs, err := descriptors(pid)
		if err != nil {
			return conformance.Observation{}, err
		}
		nowMemory, err := resident(pid)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := conformance.Observation{Outcome: returned, Detail: fmt.Sprintf("%d tunnels: descriptors from %d to %d, memory from %.1f to %.1f MiB", leakTunnels, fds, nowFDs, mib(memory), mib(nowMemory))}
		if nowFDs <= fds+leakFDs && nowMemory <= memory+leakTunnels*leakEach {
			return o, nil
		}
		if time.Now().After(until) || ctx.Err() != nil {
			o.Outcome = leaks
			return o, ctx.Err()
		}
	}
}

// comeAndGo opens n tunnels, several at a time, has each carry an echo, and ends them in one way or another. They are not traced.
func comeAndGo(ctx context.Context, t *conformance.T, n int) error {
	cfg, err := plainConfig(t, "a")
	if err != nil {
		return err
	}
	cfg.KeyLogWriter = nil
	var failed [openers]error
	var wg sync.WaitGroup
	for w := range openers {
		wg.Go(func() {
			for i := w; i < n && failed[w] == nil && ctx.Err() == nil; i += openers {
				failed[w] = comeAndGoOnce(ctx, t, cfg, i%4 == 3)
			}
		})
	}
	wg.Wait()
	return errors.Join(append(failed[:], ctx.Err())...)
}

func comeAndGoOnce(ctx context.Context, t *conformance.T, cfg *tls.Config, rude bool) error {
	d := net.Dialer{Timeout: t.Wait()}
	raw, err := d.DialContext(ctx, "tcp", t.Path.Address)
	if err != nil {
		return err
	}
	defer raw.Close()
	conn := tls.Client(raw, cfg)
	within(t, conn)
	if _, err := t.Ask(conn, witness.Order{}); err != nil {
		return err
	}
	if err := echoes(t, conn, "come and go"); err != nil {
		return err
	}
	if rude {
		return wire.Reset(conn)
	}
	return orderlyEnd(t, conn)
}
