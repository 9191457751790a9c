// Package checks is the catalogue: one file a tight family of checks, named <group>_<behaviour>.go. Each registers itself with
// conformance.Register when the package is imported; nothing else is exported.
//
// Ids, slugs, levels and clauses are those of shared/facts/conformance.md, section 5. A check makes something happen, says what
// it saw as an outcome, and leaves the verdict to the engine; whatever is positive is compared with the witness's own record.
package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of this package's own.
const (
	served     conformance.Outcome = "served"           // a witness answered who must not be
	accepted   conformance.Outcome = "accepted"         // the handshake went on though it must not
	leftOpen   conformance.Outcome = "left-open"        // a fatal alert, but the connection stayed open behind it
	answered   conformance.Outcome = "handshake"        // the handshake completed and no backend was reached
	unasked    conformance.Outcome = "unsolicited-alpn" // ALPN in the answer though none was offered
	unnamed    conformance.Outcome = "alpn-unconfirmed" // the routed ALPN is missing in the answer
	otherALPN  conformance.Outcome = "alpn-other"       // another one is in the answer
	inTime     conformance.Outcome = "closed-in-time"
	early      conformance.Outcome = "closed-early"
	selected   conformance.Outcome = "grease-selected"
	overmatch  conformance.Outcome = "overmatched"
	mixedUp    conformance.Outcome = "inconsistent" // now the one reading, now the other
	suffix     conformance.Outcome = "suffix"
	oneLabel   conformance.Outcome = "one-label"
	unverified conformance.Outcome = "unseen" // the witness saw no certificate
)

// What the two commonest outcomes mean.
const (
	byWitness = "the right witness answers, and its own record agrees"
	whole     = "every byte arrives and a regular end behind them; count and hash of the witness agree"
)

func rfc(number int, section string) result.Clause {
	return result.Clause{
		Doc: fmt.Sprintf("RFC %d", number), Section: "section " + section,
		URL: fmt.Sprintf("https://www.rfc-editor.org/rfc/rfc%d#section-%s", number, section),
	}
}

// policy is a clause of this suite itself: the routing table every fixture is built from.
func policy(what string) result.Clause {
	return result.Clause{Doc: "tlsroute-bench DESIGN.md", Section: what}
}

func cve(id string) result.Clause {
	return result.Clause{Doc: id, URL: "https://nvd.nist.gov/vuln/detail/" + id}
}

func pass(clause string, outcomes ...conformance.Outcome) []conformance.Accepted {
	return accept(result.CheckPass, clause, outcomes)
}

func tolerate(clause string, outcomes ...conformance.Outcome) []conformance.Accepted {
	return accept(result.CheckTolerated, clause, outcomes)
}

func accept(v result.CheckVerdict, clause string, outcomes []conformance.Outcome) []conformance.Accepted {
	var list []conformance.Accepted
	for _, o := range outcomes {
		list = append(list, conformance.Accepted{Outcome: o, Verdict: v, Clause: clause})
	}
	return list
}

var (
	everywhere = []conformance.Transport{conformance.Direct, conformance.Upgraded}
	directOnly = []conformance.Transport{conformance.Direct}
)

func has(t *conformance.T, feature string) bool {
	return slices.Contains(t.Target.Features, feature)
}

// opens is the positive control "this route works when nothing is odd about the connection".
func opens(route string) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		conn, err := t.Open(ctx, route)
		if err != nil {
			return fmt.Errorf("opening route %s: %w", route, err)
		}
		if o, _ := t.Served(ctx, conn, witnessOf(t, route)); o.Outcome != conformance.Routed {
			return fmt.Errorf("route %s: %s: %s", route, o.Outcome, o.Detail)
		}
		return conn.Close()
	}
}

// both are two controls.
func both(a, b func(context.Context, *conformance.T) error) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		if err := a(ctx, t); err != nil {
			return err
		}
		return b(ctx, t)
	}
}

// witnessOf is the name of the witness behind a route of the fixture.
func witnessOf(t *conformance.T, route string) string {
	for _, r := range conformance.FixtureRoutes(t.Target.Fixture) {
		if r.Name == route && r.Witness == conformance.WitnessA {
			return t.Target.Fixture.WitnessA
		}
		if r.Name == route && r.Witness == conformance.WitnessB {
			return t.Target.Fixture.WitnessB
		}
	}
	return ""
}

// reach opens a connection with cfg and asks whoever answers. Routed means the witness of that name, served any witness when
// the name is empty; else the outcome is how it was refused.
func reach(ctx context.Context, t *conformance.T, cfg *tls.Config, name string) conformance.Observation {
	stream, err := t.Stream(ctx)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	defer stream.Close()
	return reachOver(ctx, t, stream, cfg, name)
}

func reachOver(ctx context.Context, t *conformance.T, stream net.Conn, cfg *tls.Config, name string) conformance.Observation {
	conn, err := t.TLS(ctx, stream, cfg)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	return ask(ctx, t, conn, name)
}

func ask(ctx context.Context, t *conformance.T, conn net.Conn, name string) conformance.Observation {
	if name != "" {
		o, _ := t.Served(ctx, conn, name)
		return o
	}
	rec, err := t.Ask(conn, witness.Order{})
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	return conformance.Observation{Outcome: served, Detail: "witness " + rec.Witness + " answered"}
}

// unknown is a configuration for a name that may have no certificate: the witness tells who answered.
func unknown(sni string, alpn ...string) *tls.Config {
	return &tls.Config{ServerName: sni, NextProtos: alpn, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // see above
}

// isRefusal says whether an outcome is a clear refusal: an alert, or the end of the connection. A timeout is not one.
func isRefusal(o conformance.Outcome) bool {
	return strings.HasPrefix(string(o), "alert:") || o == conformance.FIN || o == conformance.RST
}

// crafted is the positive control of checks that send a hello of our own making with something wrong in it: the same hello with
// nothing wrong. Without it a slip in the making of the hello would pass for a refusal of what the check is about.
func crafted(o wire.HelloOptions, sizes ...int) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		o := o
		o.SNI, o.ALPN = t.Name("a"), []string{"trb-a"}
		s, err := session(ctx, t, o, sizes...)
		if err != nil {
			return fmt.Errorf("the same ClientHello without the fault: %w", err)
		}
		if o := ask(ctx, t, s, witnessOf(t, "a")); o.Outcome != conformance.Routed {
			return fmt.Errorf("the same ClientHello without the fault: %s: %s", o.Outcome, o.Detail)
		}
		return nil
	}
}

// undialled is o, unless a witness was dialled since before: then that is what was seen. One wait for silence serves any number of
// refusals.
func undialled(ctx context.Context, t *conformance.T, before int64, o conformance.Observation) conformance.Observation {
	if o.Outcome == served {
		return o
	}
	if detail, ok := t.NotDialled(ctx, before); !ok {
		return conformance.Observation{Outcome: conformance.Dialled, Detail: detail + "; the client saw " + string(o.Outcome)}
	}
	return o
}

// worst is the observation that the check judges most severely (forbidden, then not listed, then tolerated), the earliest of
// equals: so one bad answer is not hidden by a good one, before or after it.
func worst(t *conformance.T, list []conformance.Observation) conformance.Observation {
	rank := func(o conformance.Observation) int {
		for _, a := range t.Check.Accept {
			if a.Outcome == o.Outcome && a.Verdict == result.CheckPass {
				return 0
			} else if a.Outcome == o.Outcome {
				return 1
			}
		}
		if _, forbidden := t.Check.Forbid[o.Outcome]; forbidden {
			return 3
		}
		return 2
	}
	out := list[0]
	for _, o := range list[1:] {
		if rank(o) > rank(out) {
			out = o
		}
	}
	return out
}

// session sends a hello of our own making over a new stream, in records of these sizes (see wire.Records), and finishes the handshake.
func session(ctx context.Context, t *conformance.T, o wire.HelloOptions, sizes ...int) (*wire.Session, error) {
	stream, err := t.Stream(ctx)
	if err != nil {
		return nil, err
	}
	msg, key, err := wire.HelloTLS13(o)
	if err != nil {
		return nil, err
	}
	if err := bounded(t, stream, slices.Concat(wire.Records(msg, sizes...)...)); err != nil {
		return nil, err
	}
	return wire.Connect(stream, msg, key)
}

// errLeftOpen says that a connection stayed open behind a fatal alert (RFC 9846 section 6: both sides must close it at once).
var errLeftOpen = errors.New("the connection stayed open behind the alert")

// answer sends raw bytes over a new stream and returns the first record that comes back, or how the stream ended. Behind an alert
// it waits for the end, and the error is errLeftOpen as well when that does not come.
func answer(ctx context.Context, t *conformance.T, raw []byte) (wire.RawRecord, error) {
	stream, err := t.Stream(ctx)
	if err != nil {
		return wire.RawRecord{}, err
	}
	defer stream.Close()
	if err := bounded(t, stream, raw); err != nil {
		return wire.RawRecord{}, err
	}
	rec, err := wire.ReadAnswer(stream)
	if _, alert := errors.AsType[*wire.AlertError](err); alert {
		if _, end := io.Copy(io.Discard, stream); t.Outcome(end) == conformance.Timeout {
			err = errors.Join(err, errLeftOpen)
		}
	}
	return rec, err
}
