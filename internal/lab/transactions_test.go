package lab

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// The full run is make test-transactions. A short one ends in time on a slow machine, with as many as it came to.
var (
	transactions = flag.Int("transactions", 2000, "how many transactions have to be confirmed by each database, whatever breaks meanwhile")
	faultEvery   = flag.Duration("fault-every", 300*time.Millisecond, "how often something breaks meanwhile")
	atMost       = flag.Duration("at-most", 10*time.Second, "when to be content with one transaction of 200, once each fault has come; 0 is never")
)

// writers is how many sessions write at once to each database.
const writers = 6

// fate is what a client was told of its transaction.
type fate int

const (
	failed    fate = iota // an error before COMMIT was sent
	confirmed             // COMMIT was answered
	unknown               // COMMIT was sent, and an error came in place of the answer
)

// ledger is what the writers of a database were told, by the id that each transaction has for itself.
type ledger struct {
	database
	last atomic.Int64

	mu     sync.Mutex // guards what follows
	fates  map[int64]fate
	counts [unknown + 1]int
	lost   int // sessions
	denied int // sessions that did not come about
}

func (g *ledger) note(id int64, f fate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fates[id] = f
	g.counts[f]++
}

func (g *ledger) confirmed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts[confirmed]
}

// text is what a row says beside its id, so that one which was damaged on its way is found.
func text(id int64) string { return strings.Repeat(strconv.FormatInt(id*7919, 36)+".", 8) }

// write makes transactions over a session after the other until ctx ends. None is tried again: each has an id of its own.
func (g *ledger) write(ctx context.Context, t *testing.T, l *Lab, w dbWay) {
	for ctx.Err() == nil {
		s, err := g.connect(context.WithoutCancel(ctx), l, w)
		if err != nil {
			hung(t, "a new session", err)
			g.mu.Lock()
			g.denied++
			g.mu.Unlock()
			time.Sleep(10 * time.Millisecond) // a server that is down answers at once
			continue
		}
		for err == nil && ctx.Err() == nil {
			err = g.transact(t, s)
		}
		s.close()
		if err != nil {
			g.mu.Lock()
			g.lost++
			g.mu.Unlock()
		}
	}
}

// transact is one transaction.
func (g *ledger) transact(t *testing.T, s dbSession) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id := g.last.Add(1)
	for _, statement := range []string{"BEGIN", fmt.Sprintf("INSERT INTO ledger VALUES (%d, '%s')", id, text(id))} {
		if err := s.do(ctx, statement); err != nil {
			hung(t, statement, err)
			g.note(id, failed)
			return err
		}
	}
	before := s.sent()
	err := s.do(ctx, "COMMIT")
	switch {
	case err == nil:
		g.note(id, confirmed)
	case s.sent() == before: // not what the driver says: pgx 5.12 calls an answer that broke off one that nothing was sent for (SafeToRetry)
		g.note(id, failed)
	default:
		hung(t, "COMMIT", err)
		g.note(id, unknown)
	}
	return err
}

// hung reports a client that was not told: nothing here lasts as long as its patience.
func hung(t *testing.T, what string, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: nothing came in %v: %v", what, patience, err)
	}
}

// check reads what is there, at the server's own address, and compares it with what the writers were told.
func (g *ledger) check(t *testing.T, l *Lab) {
	t.Helper()
	there := map[int64]int{}
	s := g.mustConnect(t, l, dbWay{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := s.read(ctx, "SELECT id, what FROM ledger", func(scan func(...any) error) {
		var id int64
		var what string
		if err := scan(&id, &what); err != nil {
			t.Errorf("%s: %v", g.name, err)
		}
		there[id]++
		if what != text(id) {
			t.Errorf("%s: transaction %d has become %q", g.name, id, what)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wrong, came := g.compare(there)
	for _, w := range wrong {
		t.Errorf("%s: %s", g.name, w)
	}
	t.Logf("%s: %d transactions begun: %d confirmed, %d failed before COMMIT was sent, %d unknown, of which %d are there; %d sessions lost, %d not to be had",
		g.name, len(g.fates), g.counts[confirmed], g.counts[failed], g.counts[unknown], came, g.lost, g.denied)
	if g.lost == 0 || g.counts[failed]+g.counts[unknown] == 0 {
		t.Errorf("%s: no transaction was broken, so nothing has been shown", g.name)
	}
}

// compare says what contradicts what the writers were told, and how many of the unknown are there, which is as good as their absence.
func (g *ledger) compare(there map[int64]int) (wrong []string, came int) {
	for _, id := range slices.Sorted(maps.Keys(g.fates)) {
		f, n := g.fates[id], there[id]
		switch {
		case n > 1:
			wrong = append(wrong, fmt.Sprintf("transaction %d is there %d times", id, n))
		case f == confirmed && n == 0:
			wrong = append(wrong, fmt.Sprintf("transaction %d was confirmed and is lost", id))
		case f == failed && n > 0:
			wrong = append(wrong, fmt.Sprintf("transaction %d failed before COMMIT was sent, and is there", id))
		case f == unknown:
			came += n
		}
	}
	for _, id := range slices.Sorted(maps.Keys(there)) {
		if _, ok := g.fates[id]; !ok {
			wrong = append(wrong, fmt.Sprintf("nobody wrote %d", id))
		}
	}
	return wrong, came
}

func TestComparingALedger(t *testing.T) {
	g := ledger{fates: map[int64]fate{1: confirmed, 2: confirmed, 3: confirmed, 4: failed, 5: failed, 6: unknown, 7: unknown, 8: unknown}}
	wrong, came := g.compare(map[int64]int{1: 1, 2: 2, 5: 1, 6: 1, 8: 2, 9: 1})
	want := []string{
		"transaction 2 is there 2 times", "transaction 3 was confirmed and is lost", "transaction 5 failed before COMMIT was sent, and is there",
		"transaction 8 is there 2 times", "nobody wrote 9",
	}
	if !slices.Equal(wrong, want) || came != 1 {
		t.Errorf("%q, %d unknown are there", wrong, came)
	}
}

// breakage is one thing that goes wrong, and is over when it returns.
type breakage struct {
	name string
	do   func(ctx context.Context, rng *rand.Rand) error
}

// breakages are the round of what goes wrong.
func breakages(l *Lab, alb *cluster) []breakage {
	inject := func(i albsim.Injection) func(context.Context, *rand.Rand) error {
		return func(_ context.Context, rng *rand.Rand) error {
			i := i
			i.Clock = "server"
			if i.AtByte > 0 { // anywhere in a few transactions
				i.AtByte = 1 + rng.Int64N(i.AtByte)
			}
			return alb.inject(i)
		}
	}
	crash := func(name string) func(context.Context, *rand.Rand) error {
		return func(ctx context.Context, _ *rand.Rand) error {
			faults := l.backend(name).Faults
			return errors.Join(faults.Kill(ctx), faults.Restart(ctx))
		}
	}
	return []breakage{
		{"tunnels reset", inject(albsim.Injection{Kind: "reset", Hop: "client"})},
		{"answers reset in the middle", inject(albsim.Injection{Kind: "reset", Hop: "target", Direction: "down", AtByte: 2000})},
		{"FIN both ways", inject(albsim.Injection{Kind: "truncate", Hop: "target"})},
		{"PostgreSQL killed", crash("pg")},
		{"requests cut by FIN in the middle", inject(albsim.Injection{Kind: "half-close", Hop: "client", Direction: "up", AtByte: 2000})},
		{"node replaced", func(ctx context.Context, _ *rand.Rand) error { return alb.rotate(ctx) }},
		{"stall", inject(albsim.Injection{Kind: "stall", Hop: "target", For: albsim.Duration(200 * time.Millisecond)})},
		{"MariaDB killed", crash("my")},
		{"node dead", func(ctx context.Context, _ *rand.Rand) error { return cutNode(ctx, alb) }},
		{"answers cut by FIN in the middle", inject(albsim.Injection{Kind: "truncate", Hop: "client", Direction: "down", AtByte: 2000})},
		{"PostgreSQL frozen", func(ctx context.Context, _ *rand.Rand) error {
			faults := l.backend("pg").Faults
			err := faults.Pause(ctx)
			time.Sleep(200 * time.Millisecond) // how long it is frozen
			return errors.Join(err, faults.Resume(ctx))
		}},
	}
}

// TestCommittedMeansCommitted has clients write through a load balancer in which, and behind which, one thing after the other breaks, and
// compares at the end what they were told with what is there: what was confirmed is there, once; what failed before COMMIT was sent is
// not; and where they were told nothing certain they were told an error.
func TestCommittedMeansCommitted(t *testing.T) {
	l := startReal(t, breaking)
	alb := simulator(t, l, "alb-https")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ledgers []*ledger
	var writing sync.WaitGroup
	for _, d := range databases {
		if err := d.mustConnect(t, l, dbWay{}).do(ctx, "CREATE TABLE ledger (id bigint, what varchar(200))"); err != nil { // with no key: a second one is let in
			t.Fatal(err)
		}
		g := &ledger{database: d, fates: map[int64]fate{}}
		ledgers = append(ledgers, g)
		for n := range writers {
			w := dbWay{"alb-https", []string{"websocket", "alpn"}[n%2]}
			writing.Go(func() { g.write(ctx, t, l, w) })
		}
	}
	began := time.Now()
	seed := uint64(began.UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // where it cuts
	list := breakages(l, alb)
	tick := time.NewTicker(*faultEvery)
	defer tick.Stop()
	broken := 0
	enough := func() bool {
		want := *transactions
		if *atMost > 0 && time.Since(began) > *atMost {
			want /= 200
		}
		return broken >= len(list) && !slices.ContainsFunc(ledgers, func(g *ledger) bool { return g.confirmed() < want })
	}
	for ; !enough() && !t.Failed(); broken++ {
		<-tick.C
		b := list[broken%len(list)]
		if err := b.do(ctx, rng); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
	}
	stop()
	writing.Wait()
	t.Logf("seed %d: %d faults in %v, each of %d kinds", seed, broken, time.Since(began).Round(time.Millisecond), len(list))
	for _, g := range ledgers {
		g.check(t, l)
	}
}
