package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// breaking has two real databases behind paths that break: short forgets an idle tunnel after a second, of hole nothing comes back once
// it has been told so.
const breaking = `
name: breaking
topology:
  paths: [direct, alb-https, short, hole]
  router: {upgrade: {ping_interval: 100ms}}
  load_balancers:
    alb: {nodes: 2}
    short: {attributes: {idle_timeout.timeout_seconds: 1}}
    hole: {}
backends:
  - {name: pg, kind: postgres, durable: true}
  - {name: my, kind: mysql, durable: true}
routes:
  - {name: pg, sni: [pg.example.test], alpn: [teleport-postgres], mode: terminate, backend: pg}
  - {name: my, sni: [my.example.test], alpn: [teleport-mysql], mode: terminate, backend: my}
`

// ways are those of the tests that know no load balancer in particular.
var ways = []dbWay{{"direct", ""}, {"alb-https", ""}}

// simulator is the load balancer before the router of a path.
func simulator(t *testing.T, l *Lab, path string) *cluster {
	t.Helper()
	c, ok := l.chain(path)
	if !ok || len(c.nodes) != 1 || c.nodes[0].alb == nil {
		t.Fatalf("path %s has no simulator", path)
	}
	return c.nodes[0].alb
}

// TestRealDatabasesWhileThingsBreak is what clients of PostgreSQL and MariaDB notice when a backend, a load balancer or a tunnel fails.
func TestRealDatabasesWhileThingsBreak(t *testing.T) {
	l := startReal(t, breaking)
	for i, d := range databases {
		other := databases[1-i]
		t.Run(d.name, func(t *testing.T) {
			t.Run("killed", func(t *testing.T) { killed(t, l, d, other) })
			t.Run("full", func(t *testing.T) { full(t, l, d) })
			t.Run("frozen", func(t *testing.T) { frozen(t, l, d, other) })
			t.Run("node", func(t *testing.T) { nodeGoes(t, l, d) })
			t.Run("in flight", func(t *testing.T) { inFlight(t, l, d) })
		})
	}
	t.Run("idle", func(t *testing.T) { idle(t, l) })
	t.Run("blackhole", func(t *testing.T) { blackhole(t, l) }) // for good
}

// killed wants every session of a server that is killed to see an error: none waits for ever, and no result ends as if it were whole.
func killed(t *testing.T, l *Lab, d, other database) {
	faults := l.backend(d.name).Faults
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var begun, ended sync.WaitGroup
	dead := make(chan struct{})
	for _, w := range ways {
		resting, asleep, reading := d.mustConnect(t, l, w), d.mustConnect(t, l, w), d.mustConnect(t, l, w)
		ended.Go(func() {
			<-dead
			_, err := resting.ask(ctx, d.whoAmI)
			broke(t, fmt.Sprintf("%v: a session that rested", w), err)
		})
		ended.Go(func() {
			_, err := asleep.ask(ctx, fmt.Sprintf(d.sleep, 600))
			broke(t, fmt.Sprintf("%v: a query at work", w), err)
		})
		// Whether begun twice or not at all, a reader that fails early must not keep the test from its end.
		begin := func() func() { begun.Add(1); return sync.OnceFunc(begun.Done) }
		first := begin()
		ended.Go(func() {
			defer first()
			rows, err := reading.read(ctx, d.endless, func(func(...any) error) { first(); <-dead })
			broke(t, fmt.Sprintf("%v: a result of which %d rows came", w, rows), err)
			if rows == 0 {
				t.Errorf("%v: the result was not begun: %v", w, err)
			}
		})
		if pg, ok := d.mustConnect(t, l, w).(pgSession); ok {
			first := begin()
			ended.Go(func() {
				defer first()
				out := &halting{first: first, dead: dead}
				_, err := pg.copyOut(ctx, d.endless, out)
				broke(t, fmt.Sprintf("%v: a COPY of which %d bytes came", w, out.bytes), err)
				if out.bytes == 0 {
					t.Errorf("%v: the COPY was not begun: %v", w, err)
				}
			})
		}
	}
	begun.Wait()
	waitUntil(t, "the queries to be at work", func() bool { return d.at(t, l, d.asleep) == strconv.Itoa(len(ways)) })
	if err := faults.Kill(ctx); err != nil {
		t.Error(err)
	}
	close(dead)
	ended.Wait()
	for _, w := range ways {
		s, err := d.connect(ctx, l, w)
		if err == nil {
			s.close()
		}
		broke(t, fmt.Sprintf("%v: a session with a server that is down", w), err)
		other.works(t, l, w)
	}
	if err := faults.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range ways {
		d.works(t, l, w) // and nobody has told the router
	}
}

// halting takes the first bytes and then waits.
type halting struct {
	first func()
	dead  chan struct{}
	bytes int
}

func (h *halting) Write(p []byte) (int, error) {
	h.first()
	<-h.dead
	h.bytes += len(p)
	return len(p), nil
}

// full wants the server's own words where it takes no more connections.
func full(t *testing.T, l *Lab, d database) {
	most, err := strconv.Atoi(d.at(t, l, d.most))
	if err != nil {
		t.Fatal(err)
	}
	r := l.backend(d.name)
	// A connection that has not logged in yet has its place. PostgreSQL wants to hear a name first.
	hello := ""
	if d.name == "pg" {
		body := "\x00\x03\x00\x00user\x00" + r.Access.User + "\x00\x00"
		hello = "\x00\x00\x00" + string(rune(len(body)+4)) + body
	}
	var taken []net.Conn
	defer func() {
		for _, c := range taken {
			c.Close()
		}
		waitUntil(t, "places to be free again", func() bool {
			s, err := d.connect(t.Context(), l, dbWay{})
			if err == nil {
				s.close()
			}
			return err == nil
		})
		for _, w := range ways {
			d.works(t, l, w)
		}
	}()
	for range most + 2 {
		c, err := net.Dial("tcp", r.Address)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c)
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte(hello)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // its answer: the place has been given, or refused
			t.Fatal(err)
		}
	}
	_, err = d.connect(t.Context(), l, dbWay{})
	want := d.full(err)
	if code, _, _ := strings.Cut(want, " "); code != map[string]string{"pg": "53300", "my": "1040"}[d.name] {
		t.Fatalf("the server is not full: %v", err)
	}
	for _, w := range ways {
		_, err := d.connect(t.Context(), l, w)
		if got := d.full(err); got != want {
			t.Errorf("%v: %v; the server says %q", w, err, want)
		}
	}
}

// frozen wants a client to be able to give up, and nobody else to notice.
func frozen(t *testing.T, l *Lab, d, other database) {
	faults := l.backend(d.name).Faults
	var sessions []dbSession
	for _, w := range ways {
		sessions = append(sessions, d.mustConnect(t, l, w))
	}
	if err := faults.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	short := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 300*time.Millisecond)
	}
	for i, w := range ways {
		ctx, cancel := short()
		if _, err := sessions[i].ask(ctx, d.whoAmI); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: a query to a frozen server: %v", w, err)
		}
		cancel()
		ctx, cancel = short()
		if s, err := d.connect(ctx, l, w); err == nil {
			s.close()
			t.Errorf("%v: a frozen server lets somebody in", w)
		} else if ctx.Err() == nil {
			t.Errorf("%v: a frozen server is no error before the client gives up: %v", w, err)
		}
		cancel()
		other.works(t, l, w)
	}
	if err := faults.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range ways {
		d.works(t, l, w)
	}
}

// nodeGoes has a load balancer's nodes replaced: what stands lives on, as an ALB's does until its node is gone; and then one that dies.
func nodeGoes(t *testing.T, l *Lab, d database) {
	alb := simulator(t, l, "alb-https")
	w := dbWay{"alb-https", ""}
	s := d.mustConnect(t, l, w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	before, err := s.ask(ctx, d.whoAmI)
	if err != nil {
		t.Fatal(err)
	}
	address := l.mustChain(t, "alb-https").address()
	for range 3 { // more than there are, so that the session's own is out of the way
		if err := alb.rotate(ctx); err != nil {
			t.Fatal(err)
		}
		d.works(t, l, w)
	}
	if now := l.mustChain(t, "alb-https").address(); now == address {
		t.Errorf("the node is still %s", now)
	}
	if after, err := s.ask(ctx, d.whoAmI); err != nil || after != before {
		t.Errorf("the session on the old node is %q, and was %q: %v", after, before, err)
	}
	s = d.mustConnect(t, l, w)
	if err := cutNode(ctx, alb); err != nil {
		t.Fatal(err)
	}
	_, err = s.ask(ctx, d.whoAmI)
	broke(t, "a session on a node that died", err)
	d.works(t, l, w)
}

func (l *Lab) mustChain(t *testing.T, path string) *chain {
	t.Helper()
	c, ok := l.chain(path)
	if !ok {
		t.Fatalf("no path %s", path)
	}
	return c
}

// cutNode has another node take the place of the oldest, which ends at once with all that it carries.
func cutNode(ctx context.Context, c *cluster) error {
	if err := c.rotate(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	oldest := c.leaving
	c.mu.Unlock()
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := oldest.Shutdown(now); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// inFlight ends the tunnel of a transaction at each point of it. The client has to be told, and what it is told must not be wrong.
func inFlight(t *testing.T, l *Lab, d database) {
	alb := simulator(t, l, "alb-https")
	if err := d.mustConnect(t, l, dbWay{}).do(t.Context(), "CREATE TABLE flights (id int, what varchar(80))"); err != nil {
		t.Fatal(err)
	}
	ends := []albsim.Injection{
		{Kind: "reset", Hop: "client"},
		{Kind: "reset", Hop: "target"},
		{Kind: "truncate", Hop: "client"},
		{Kind: "truncate", Hop: "target"},
		{Kind: "half-close", Hop: "client", Direction: "down"},
		{Kind: "half-close", Hop: "target", Direction: "down"},
	}
	id := 0
	for _, end := range ends {
		end.Clock = "server"
		for point, upgrade := range map[string]string{"BEGIN": "websocket", "INSERT": "websocket", "COMMIT": "alpn"} { // whose answer is alone: nobody pings
			id++
			what := fmt.Sprintf("%s at %s %s", point, end.Kind, end.Hop)
			statements := []string{"BEGIN", fmt.Sprintf("INSERT INTO flights VALUES (%d, '%s')", id, what), "COMMIT"}
			s := d.mustConnect(t, l, dbWay{"alb-https", upgrade})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			next := map[string]int{"BEGIN": 1, "INSERT": 2, "COMMIT": 2}[point]
			for _, statement := range statements[:next] {
				if err := s.do(ctx, statement); err != nil {
					t.Fatalf("%s: %s: %v", what, statement, err)
				}
			}
			strike, rows := end, "0"
			if point == "COMMIT" { // it is answered, and the answer's first byte is the last that passes
				strike.Direction, strike.AtByte, rows = "down", 1, "1"
			}
			if err := alb.inject(strike); err != nil {
				t.Fatal(err)
			}
			if point != "COMMIT" {
				waitUntil(t, "the fault to strike", func() bool { return s.do(ctx, "SELECT 1") != nil })
			}
			for _, statement := range statements[next:] {
				broke(t, what+": "+statement, s.do(ctx, statement))
			}
			if got := d.at(t, l, fmt.Sprintf("SELECT cast(count(*) AS char(9)) FROM flights WHERE id = %d", id)); strings.TrimSpace(got) != rows {
				t.Errorf("%s: %s rows at the server, want %s", what, got, rows)
			}
			cancel()
		}
	}
}

// idle has queries that take longer than the load balancer waits: pings keep one, and the other's client is told.
func idle(t *testing.T, l *Lab) {
	var all sync.WaitGroup
	for _, d := range databases {
		pinged, mute := d.mustConnect(t, l, dbWay{"short", "websocket"}), d.mustConnect(t, l, dbWay{"short", "alpn"})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		all.Go(func() {
			if rows, err := pinged.read(ctx, fmt.Sprintf(d.sleep, 3), func(func(...any) error) {}); err != nil || rows != 1 {
				t.Errorf("%s with pings: %d rows, %v", d.name, rows, err)
			}
		})
		all.Go(func() {
			_, err := mute.read(ctx, fmt.Sprintf(d.sleep, 30), func(func(...any) error) {})
			broke(t, d.name+" without pings", err)
		})
	}
	all.Wait()
	for _, d := range databases {
		d.works(t, l, dbWay{"short", ""})
	}
}

// blackhole lets nothing come back any more, and says nothing: the client's own patience ends it, with an error.
func blackhole(t *testing.T, l *Lab) {
	type flight struct {
		d     database
		s     dbSession
		point int // statements that were answered
		id    int
	}
	statements := func(id int) []string {
		return []string{"BEGIN", fmt.Sprintf("INSERT INTO flights VALUES (%d, 'blackhole')", id), "COMMIT"}
	}
	var flights []flight
	for _, d := range databases {
		for point := range 3 {
			f := flight{d, d.mustConnect(t, l, dbWay{"hole", ""}), point, 1000 + point}
			for _, statement := range statements(f.id)[:point] {
				if err := f.s.do(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			flights = append(flights, f)
		}
	}
	if err := simulator(t, l, "hole").inject(albsim.Injection{Kind: "stall", Hop: "target", Direction: "down", Clock: "server"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range flights {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := f.s.do(ctx, statements(f.id)[f.point]); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %s into a black hole: %v", f.d.name, statements(f.id)[f.point], err)
		}
		cancel()
		if err := f.s.do(t.Context(), "COMMIT"); err == nil {
			t.Errorf("%s: a session that was given up commits", f.d.name)
		}
	}
	for _, d := range databases {
		// Only the COMMIT that went in was done, and its client does not know.
		waitUntil(t, "the transaction to end", func() bool {
			return strings.TrimSpace(d.at(t, l, "SELECT cast(count(*) AS char(9)) FROM flights WHERE id = 1002")) == "1"
		})
		if n := d.at(t, l, "SELECT cast(count(*) AS char(9)) FROM flights WHERE id IN (1000, 1001)"); strings.TrimSpace(n) != "0" {
			t.Errorf("%s: %s transactions that never came to COMMIT are there", d.name, n)
		}
		for _, w := range ways {
			d.works(t, l, w)
		}
	}
}
