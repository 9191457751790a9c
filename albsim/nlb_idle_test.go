package albsim

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// holding is a target that hands its connections to the test and keeps them open.
func holding(t *testing.T) (*stub, chan *client) {
	conns := make(chan *client, 8)
	done := make(chan struct{})
	s := sink(t, func(c *client) {
		conns <- c
		<-done
	})
	t.Cleanup(func() { close(done) }) // before that of sink, which waits
	return s, conns
}

func TestNLB_TCP_03_SilentExpiryThenReset(t *testing.T) {
	at, conns := holding(t)
	cfg := throughTCP(at.addr)
	cfg.Listeners[0].Attributes["tcp.idle_timeout.seconds"] = 60
	var l timeline
	m := start(t, cfg, Options{TimeScale: 0.005, Observe: l.add}) // 300 ms
	c := m.dial()
	begun := time.Now()
	behind := <-conns
	until(t, "flows forgotten", &m.count.flows.forgotten, 1)
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("forgotten after %v", took)
	}
	if e := l.until(t, func(e Event) bool { return e.Kind == EventTimer }); e.Hop != "client" || e.Detail != "idle timeout" {
		t.Errorf("%+v", e)
	}
	c.quiet()
	behind.quiet()
	c.send("late")
	c.isReset()
	behind.quiet()
	say(behind, "late")
	behind.isReset()
	m.counted(map[string]int64{"TCP_ELB_Reset_Count": 2, "ActiveFlowCount": 0})
}

func TestForgottenSocketsComeBack(t *testing.T) {
	at, conns := holding(t)
	cfg := throughTCP(at.addr)
	cfg.Listeners[0].Attributes["tcp.idle_timeout.seconds"] = 60
	m := start(t, cfg, Options{TimeScale: 0.001, MaxConnections: 4}) // one may wait
	one, two := m.dial(), m.dial()
	for _, c := range []*client{one, two, <-conns, <-conns} {
		c.isReset()
	}
	until(t, "flows forgotten", &m.count.flows.forgotten, 0)

	c := start(t, cfg, Options{TimeScale: 0.005})
	late := c.dial()
	behind := <-conns
	until(t, "flows forgotten", &c.count.flows.forgotten, 1)
	if err := c.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown waits for a forgotten flow: %v", err)
	}
	late.isReset()
	behind.isReset()
}

func TestIdleExpiryCanSpeak(t *testing.T) {
	for _, word := range []string{"fin", "rst"} {
		at, conns := holding(t)
		cfg := throughTCP(at.addr)
		cfg.Profile = withNetworkKnobs(t, "test-"+word, func(p *Profile) { p.IdleExpiry = word })
		m := start(t, cfg, Options{TimeScale: 0.0005}) // of 350 s
		for _, c := range []*client{m.dial(), <-conns} {
			if word == "rst" {
				c.isReset()
			} else if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v, want EOF", word, err)
			}
		}
	}
}

func withNetworkKnobs(t *testing.T, name string, edit func(*Profile)) string {
	base, _ := LookupProfile("aws-nlb-tcp")
	p := derive(base, name, "one test's")
	edit(&p)
	register(p)
	t.Cleanup(func() { delete(profiles, name) })
	return name
}

func keepAlive(t *testing.T, c *client) {
	t.Helper()
	conn, _ := below[*net.TCPConn](c.Conn)
	err := conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 9})
	if err != nil {
		t.Fatal(err)
	}
}

func quietDial(t *testing.T, m *sim) *client {
	t.Helper()
	conn, err := (&net.Dialer{KeepAlive: -1}).Dial("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func TestNLB_TCP_04_KeepAliveCountsAsTraffic(t *testing.T) {
	at, conns := holding(t)
	cfg := throughTCP(at.addr)
	cfg.Listeners[0].Attributes["tcp.idle_timeout.seconds"] = 60
	m := start(t, cfg, Options{TimeScale: 2. / 60})
	pair := func() (front, behind *client) { return quietDial(t, m), <-conns }
	none, _ := pair()
	front1, behind1 := pair()
	front2, behind2 := pair()
	keepAlive(t, front1)
	keepAlive(t, behind2)
	none.isReset() // two timeouts behind its own
	for _, way := range [][2]*client{{front1, behind1}, {behind1, front1}, {front2, behind2}, {behind2, front2}} {
		way[0].send("alive")
		way[1].expect("alive")
	}
}

func TestTLSListenerEmitsKeepAlivesOnceItGotOne(t *testing.T) {
	at, conns := holding(t)
	m := start(t, throughTLS(t, "", at.addr), Options{TimeScale: 0.01}) // 3.5 s; keep-alives every second
	pair := func() (front, behind *client) {
		front, _ = m.dialTLS(&tls.Config{})
		return front, <-conns
	}
	_, unwatched := pair()
	front, behind := pair()
	keepAlive(t, front)
	probes := func(c *client) uint32 {
		n, _, ok := segmentsIn(c.Conn.(*net.TCPConn))
		if !ok {
			t.Fatal("the kernel does not count segments")
		}
		return n
	}
	before, silent := probes(behind), probes(unwatched)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); probes(behind) < before+2; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the target got %d segments, want two keep-alives", probes(behind)-before)
		}
	}
	if n := probes(unwatched); n != silent {
		t.Errorf("a flow without keep-alives got %d segments", n-silent)
	}
}
