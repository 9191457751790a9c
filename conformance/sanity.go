package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"slices"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// calibrationEchoes is how many round trips are timed on a path.
const calibrationEchoes = 5

// calibrationWaits is how many waits each of them may take.
const calibrationWaits = 3

func (e *engine) newT(c Check, p *Path) *T {
	e.mu.Lock()
	rtt := e.rtt[p.Name]
	e.mu.Unlock()
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process rather than return an error
	return &T{
		Target: &e.target, Path: p, Transport: transport(*p), Check: c, Seed: seedOf(e.opt.Seed, c.ID, p.Name),
		Nonce: "c" + hex.EncodeToString(id[:]), rtt: rtt.slowest, usual: rtt.median, rec: &wire.Recorder{}, logger: e.logger,
	}
}

// seedOf is the seed of a check on a path.
func seedOf(run int64, id, path string) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s", run, id, path)
	return int64(h.Sum64() >> 1)
}

// sane does what every conforming target can do on this path: a plain connection to a route, answered by its witness. It also
// times the path, which scales every wait from then on. A client under test has nothing to connect to; see stillSane.
func (e *engine) sane(ctx context.Context, p *Path) error {
	if e.target.Role == Client {
		return nil
	}
	route, name := "a", e.target.Fixture.WitnessA
	if !slices.Contains(e.target.Features, "terminate") && slices.Contains(e.target.Features, "passthrough") {
		route = "pass"
	}
	t := e.newT(Check{ID: "sanity"}, p)
	defer t.closeAll()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, t.closeAll) // an interruption does not wait for a target that hangs
	defer stop()
	if e.target.Stub != nil && p.Upgrade != nil {
		took, err := t.saneBalancer(ctx)
		if err == nil {
			e.timed(p, roundTrip{took, took})
		}
		return err
	}
	conn, err := t.Open(ctx, route)
	if err != nil {
		return fmt.Errorf("opening route %s: %w", route, err)
	}
	rec, err := t.Ask(conn, witness.Order{})
	if err != nil {
		return err
	}
	if t.Expect(rec, name) != Routed {
		return fmt.Errorf("route %s led to witness %s, not %s", route, rec.Witness, name)
	}
	seen, err := echoTime(t, conn)
	if err != nil {
		return err
	}
	e.timed(p, seen)
	return nil
}

// timed keeps what was measured; the slowest stays.
func (e *engine) timed(p *Path, seen roundTrip) {
	e.mu.Lock()
	defer e.mu.Unlock()
	seen.slowest = max(seen.slowest, e.rtt[p.Name].slowest)
	e.rtt[p.Name] = seen
}

// stillSane looks again after a group. A client's sanity is the positive control of a check that has been judged: before a group nothing
// is lost by not looking, for each check begins with its own, but one that dies behind it looks like one that refuses.
func (e *engine) stillSane(ctx context.Context, jobs []job, p *Path) error {
	if e.target.Role != Client {
		return e.sane(ctx, p)
	}
	e.mu.Lock()
	i := slices.IndexFunc(jobs, func(j job) bool { return j.path != nil && j.path.Name == p.Name && e.results[j.at].Outcome != "" })
	e.mu.Unlock()
	if i < 0 {
		return nil
	}
	c := jobs[i].check
	control := c.Control
	c.Control, c.Run = nil, func(ctx context.Context, t *T) (Observation, error) { return Observation{}, control(ctx, t) }
	seen := e.execute(ctx, e.newT(c, p))
	if seen.panicked != "" {
		return errors.New("the positive control panicked: " + seen.panicked)
	}
	return seen.trouble
}

// roundTrip is what was measured on a path: waits go by the slowest, so as not to be too short, pauses by the median, so that one
// hiccup does not stretch a check with a hundred of them.
type roundTrip struct{ slowest, median time.Duration }

func echoTime(t *T, conn net.Conn) (roundTrip, error) {
	var took []time.Duration
	want := []byte(t.Nonce)
	got := make([]byte, len(want))
	for range calibrationEchoes {
		start := time.Now()
		if err := conn.SetDeadline(start.Add(calibrationWaits * t.Wait())); err != nil { // nothing is known yet of how slow the path is
			return roundTrip{}, fmt.Errorf("calibrating: %w", err)
		}
		if _, err := conn.Write(want); err != nil {
			return roundTrip{}, fmt.Errorf("calibrating: %w", err)
		}
		if _, err := io.ReadFull(conn, got); err != nil {
			return roundTrip{}, fmt.Errorf("calibrating: %w", err)
		}
		if !bytes.Equal(got, want) {
			return roundTrip{}, fmt.Errorf("calibrating: echo of %q came back as %q", want, got)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return roundTrip{slowest: took[len(took)-1], median: took[len(took)/2]}, nil
}
