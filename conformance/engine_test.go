package conformance

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneWitness is a router and a witness in one: it ends TLS and answers orders, which is all that sanity needs. When broken it
// closes every connection at once.
type oneWitness struct {
	name     string
	ln       net.Listener
	broken   atomic.Bool
	wg       sync.WaitGroup
	mu       sync.Mutex // guards records
	records  []witness.Record
	accepted atomic.Int64
}

func (w *oneWitness) Accepted() int64 { return w.accepted.Load() }

func (w *oneWitness) Find(nonce string) []witness.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []witness.Record
	for _, r := range w.records {
		if r.Nonce == nonce {
			found = append(found, r)
		}
	}
	return found
}

func (w *oneWitness) serve(cfg *tls.Config) {
	defer w.wg.Done()
	for {
		c, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.accepted.Add(1)
		w.wg.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			if w.broken.Load() {
				return
			}
			conn := tls.Server(c, cfg)
			br := bufio.NewReader(conn)
			line, err := br.ReadBytes('\n')
			order, ok := witness.ParseOrder(line)
			if err != nil || !ok {
				return
			}
			rec := witness.Record{Witness: w.name, Nonce: order.Nonce}
			w.mu.Lock()
			w.records = append(w.records, rec)
			w.mu.Unlock()
			if json.NewEncoder(conn).Encode(rec) == nil {
				_, _ = io.Copy(conn, br)
			}
		})
	}
}

func newTarget(t *testing.T) (Target, *oneWitness) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := Fixture{WitnessA: "wa", WitnessB: "wb"}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: FixtureNames(f), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	w := &oneWitness{name: "wa"}
	if w.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	w.wg.Add(1)
	go w.serve(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"trb-a"}})
	t.Cleanup(func() { w.ln.Close(); w.wg.Wait() })
	return Target{
		Name: "fake", Role: Router, Features: []string{"terminate"}, Fixture: f, InnerRoots: pool,
		Paths: []Path{{Name: "direct", Address: w.ln.Addr().String()}}, Witnesses: map[string]Witness{"wa": w},
	}, w
}

// fake is a check that sees what it is told to.
func fake(id string, see Observation, err error, change ...func(*Check)) Check {
	c := Check{
		ID: id, Slug: "slug-" + strings.ToLower(id), Title: "t", Why: "w", Level: Must, Origin: Policy, Role: Router,
		Accept:  []Accepted{{Routed, result.CheckPass, ""}, {FIN, result.CheckTolerated, "clause 7"}},
		Forbid:  map[Outcome]string{Misrouted: "because"},
		Control: func(context.Context, *T) error { return nil },
		Run:     func(context.Context, *T) (Observation, error) { return see, err },
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestOutcomesBecomeVerdicts(t *testing.T) {
	target, _ := newTarget(t)
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		check   Check
		verdict result.CheckVerdict
		detail  string
	}{
		"listed":               {fake("X-01", Observation{Outcome: Routed}, nil), result.CheckPass, ""},
		"tolerated":            {fake("X-01", Observation{Outcome: FIN}, nil), result.CheckTolerated, "clause 7"},
		"forbidden":            {fake("X-01", Observation{Outcome: Misrouted, Detail: "seen"}, nil), result.CheckFail, "expected routed or fin, got misrouted: seen; because"},
		"not listed":           {fake("X-01", Observation{Outcome: Lost}, nil), result.CheckFail, "got lost"},
		"a timeout":            {fake("X-01", Observation{Outcome: Timeout}, nil), result.CheckFail, "got timeout"},
		"info never fails":     {fake("X-01", Observation{Outcome: Lost}, nil, func(c *Check) { c.Level = Info }), result.CheckTolerated, "got lost"},
		"should fails too":     {fake("X-01", Observation{Outcome: Lost}, nil, func(c *Check) { c.Level = Should }), result.CheckFail, "got lost"},
		"harness trouble":      {fake("X-01", Observation{}, boom), result.CheckInconclusive, "boom"},
		"control fails":        {fake("X-01", Observation{Outcome: Routed}, nil, func(c *Check) { c.Control = func(context.Context, *T) error { return boom } }), result.CheckInconclusive, "positive control failed: boom"},
		"panic":                {fake("X-01", Observation{}, nil, func(c *Check) { c.Run = func(context.Context, *T) (Observation, error) { panic("oh no") } }), result.CheckInconclusive, "oh no"},
		"panic in the control": {fake("X-01", Observation{}, nil, func(c *Check) { c.Control = func(context.Context, *T) error { panic("oh no") } }), result.CheckInconclusive, "engine_test.go"},
		"feature not claimed":  {fake("X-01", Observation{Outcome: Routed}, nil, func(c *Check) { c.Features = []string{"magic"} }), result.CheckUnsupported, "magic"},
		"not run by itself":    {fake("X-01", Observation{}, &NotRunError{"no clock"}), result.CheckNotRun, "no clock"},
		"no such path":         {fake("X-01", Observation{Outcome: Routed}, nil, func(c *Check) { c.Transports = []Transport{Upgraded} }), result.CheckNotRun, "no path"},
		"an answer when its time is over": {fake("X-01", Observation{}, nil, func(c *Check) {
			c.Timeout = 50 * time.Millisecond
			c.Run = func(ctx context.Context, _ *T) (Observation, error) {
				<-ctx.Done() // as NotDialled does: its silence has been cut short
				return Observation{Outcome: Routed}, nil
			}
		}), result.CheckInconclusive, "did not end within its time"},
		"outlives its time": {fake("X-01", Observation{}, nil, func(c *Check) {
			c.Timeout = 50 * time.Millisecond
			c.Run = func(ctx context.Context, t *T) (Observation, error) {
				conn, err := t.TCP(ctx)
				if err != nil {
					return Observation{}, err
				}
				_, err = conn.Read(make([]byte, 1)) // the engine has to take the connection away
				return Observation{Outcome: t.Outcome(err)}, nil
			}
		}), result.CheckInconclusive, "did not end within its time"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := run(t.Context(), target, Options{}, []Check{tc.check})
			if err != nil {
				t.Fatal(err)
			}
			r := c.Results[0]
			if r.Verdict != tc.verdict || !strings.Contains(r.Detail, tc.detail) {
				t.Errorf("got %s (%s), want %s (…%s…)", r.Verdict, r.Detail, tc.verdict, tc.detail)
			}
			if c.Totals[tc.verdict] != 1 || r.Evidence == nil || r.Group != "X" {
				t.Errorf("totals %v, evidence %v, group %q", c.Totals, r.Evidence, r.Group)
			}
		})
	}
}

func TestFailedDependencyCollapses(t *testing.T) {
	target, _ := newTarget(t)
	depends := func(id string) func(*Check) { return func(c *Check) { c.Depends = []string{id} } }
	checks := []Check{
		fake("X-01", Observation{Outcome: Lost}, nil),
		fake("X-02", Observation{Outcome: Routed}, nil, depends("X-01")),
		fake("X-03", Observation{Outcome: Routed}, nil, depends("X-02")),
		fake("X-04", Observation{Outcome: FIN}, nil),
		fake("X-05", Observation{Outcome: Routed}, nil, depends("X-04")),
	}
	for name, tc := range map[string]struct {
		opt  Options
		want string
	}{
		"all":                             {Options{}, "FAIL DEP-FAILED DEP-FAILED TOLERATED PASS"},
		"one not chosen holds up nothing": {Options{Only: []string{"X-02"}}, "PASS"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := run(t.Context(), target, tc.opt, checks)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range c.Results {
				got = append(got, string(r.Verdict))
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLostSanityMakesTheGroupInconclusive(t *testing.T) {
	target, w := newTarget(t)
	breaking := fake("X-02", Observation{Outcome: Misrouted}, nil, func(c *Check) {
		c.Run = func(context.Context, *T) (Observation, error) {
			w.broken.Store(true)
			return Observation{Outcome: Misrouted}, nil
		}
	})
	c, err := run(t.Context(), target, Options{}, []Check{
		fake("X-01", Observation{Outcome: Routed}, nil), breaking, fake("Y-01", Observation{Outcome: Routed}, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Results {
		if r.Verdict != result.CheckInconclusive || !strings.Contains(r.Detail, "plain connection") {
			t.Errorf("%s: %s: %s", r.Check, r.Verdict, r.Detail)
		}
	}
	if !strings.Contains(c.Results[1].Detail, "it had been FAIL") {
		t.Errorf("what had been seen is not told: %s", c.Results[1].Detail)
	}
}

func TestInterruptionLeavesAPartialResult(t *testing.T) {
	target, _ := newTarget(t)
	ctx, cancel := context.WithCancel(t.Context())
	var told []string
	opt := Options{Parallel: 1, Progress: func(done, total int, last result.CheckResult) {
		told = append(told, last.Check)
		if total != 3 || done != len(told) {
			t.Errorf("progress %d of %d after %v", done, total, told)
		}
	}}
	c, err := run(ctx, target, opt, []Check{
		fake("X-01", Observation{Outcome: Routed}, nil),
		fake("X-02", Observation{}, nil, func(c *Check) {
			c.Run = func(ctx context.Context, _ *T) (Observation, error) {
				cancel()
				<-ctx.Done()
				return Observation{}, ctx.Err()
			}
		}),
		fake("Y-01", Observation{Outcome: Routed}, nil),
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	want := map[result.CheckVerdict]int{result.CheckPass: 1, result.CheckNotRun: 2}
	if diff := cmp.Diff(want, c.Totals); diff != "" || c.Results[2].Detail != "interrupted" {
		t.Errorf("%s %+v", diff, c.Results[2])
	}
}

// sink remembers what it was given.
type sink map[string]Trace

func (s sink) Save(name string, e Evidence) ([]string, error) {
	s[name] = e.Trace
	return []string{"evidence/" + name}, nil
}

func TestEvidenceIsKeptOfWhatFailed(t *testing.T) {
	target, _ := newTarget(t)
	talks := func(c *Check) {
		c.Control = func(ctx context.Context, t *T) error { _, err := t.Open(ctx, "a"); return err }
	}
	checks := []Check{fake("X-01", Observation{Outcome: Routed}, nil, talks), fake("X-02", Observation{Outcome: Lost}, nil, talks)}
	for all, want := range map[bool]int{false: 1, true: 2} {
		kept := sink{}
		c, err := run(t.Context(), target, Options{Evidence: kept, EvidenceAll: all}, checks)
		if err != nil {
			t.Fatal(err)
		}
		if len(kept) != want || len(c.Results[1].Evidence) != 1 {
			t.Errorf("all %v: kept %d, result has %v", all, len(kept), c.Results[1].Evidence)
		}
		var text strings.Builder
		if err := kept["X-02-direct"].WriteTimeline(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"tcp#1", "open", "write", "read", "16 03 01", "outcome lost"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the timeline does not show %q", want)
			}
		}
	}
}
