package bench

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestShapeFaultsNameTheOption(t *testing.T) {
	for name, c := range map[string]struct {
		workload     string
		shape        Shape
		rate         float64
		option, want string
	}{
		"of another":       {"echo", Shape{Bytes: 5}, 1, "bytes", `workload "echo" has no such option; there are bulk (direction down; bytes 16 MiB), echo (size 64 B)`},
		"all have":         {"mysql", Shape{Streams: 2}, 1, "streams", "all have active, burst, tls.curve, tls.resume, tls.mutual"},
		"no workload":      {"telnet", Shape{}, 1, "name", `no workload is called "telnet"`},
		"direction":        {"bulk", Shape{Direction: "sideways"}, 1, "direction", `"sideways" is none of up, down, duplex`},
		"size":             {"echo", Shape{Size: 1 << 20}, 1, "size", "1 MiB are not between 8 B and 64 KiB"},
		"rate":             {"handshake", Shape{}, 1, "rate", "opens a tunnel for each exchange"},
		"rate of a mode":   {"postgres", Shape{Variant: "pool"}, 1, "rate", `workload "postgres pool"`},
		"curve":            {"echo", Shape{TLS: TLSShape{Curve: "P-224"}}, 1, "tls.curve", "X25519MLKEM768"},
		"resumed mutual":   {"echo", Shape{TLS: TLSShape{Resume: true, Mutual: true}}, 1, "tls.resume", "exclude"},
		"active":           {"echo", Shape{Active: 101}, 1, "active", "no percentage"},
		"active of none":   {"handshake", Shape{Active: 5}, 0, "active", "without a rate"},
		"burst of nothing": {"echo", Shape{Burst: 5}, 1, "burst", "without a connect_rate"},
		"streams of h1":    {"http", Shape{Streams: 2}, 1, "streams", "HTTP/1.1 has no streams"},
		"slow and long":    {"slow-reader", Shape{ReadRate: 1 << 20}, 1, "read_rate", "take longer than 2s"},
		"endless queue":    {"slow-reader", Shape{Queue: 1 << 30}, 1, "queue", "nothing would be checked"},
		"bytes of a query": {"postgres", Shape{Bytes: 5}, 1, "bytes", "are of variant copy"},
		"bytes of an exec": {"ssh", Shape{Bytes: 5}, 1, "variant", "are of variants copy and sftp"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := CheckShape(c.workload, c.shape, c.rate, 0, true)
			fault, ok := errors.AsType[*OptionError](err)
			if !ok || fault.Option != c.option || !strings.Contains(fault.Message, c.want) {
				t.Errorf("got %v, want %s: …%s…", err, c.option, c.want)
			}
		})
	}
}

func TestBurstsAreDueAtOneInstantAndCountTunnels(t *testing.T) {
	w := WorkloadPlan{Name: stormName, Shape: Shape{Burst: 7}, Arms: []Arm{{Path: "a", Dial: (&target{}).dial}}}
	const length = 600 * time.Millisecond
	if err := w.prepare(length, false); err != nil {
		t.Fatal(err)
	}
	s := newSchedule(1, "storm", &w, 0, length)
	n := 0
	for a, ok := s.next(); ok; a, ok = s.next() {
		if a.at != length/2 || !a.connect || a.seq != n {
			t.Errorf("arrival %d: %+v", n, a)
		}
		n++
	}
	if n != 7 {
		t.Errorf("%d tunnels, want one burst of 7", n)
	}
	w.ConnectRate, w.Arrival, n = 700, ArrivalConstant, 0
	s = newSchedule(1, "storm", &w, 0, length)
	for _, ok := s.next(); ok; _, ok = s.next() {
		n++
	}
	if n != 420 {
		t.Errorf("%d tunnels at 700 a second for %v", n, length)
	}
}

func TestMixFollowsItsWeightsAndTheSeedAlone(t *testing.T) {
	shares := []Share{{Weight: 3}, {Weight: 1}}
	m, again, other := newMix(5, "w", shares), newMix(5, "w", shares), newMix(6, "w", shares)
	var count [2]int
	differ := false
	for i := range 10_000 {
		r := m.route(i/100, i%100)
		count[r]++
		if again.route(i/100, i%100) != r {
			t.Fatal("the same seed chose another route")
		}
		differ = differ || other.route(i/100, i%100) != r
	}
	if count[1] < 2300 || count[1] > 2700 || !differ {
		t.Errorf("of 10000 tunnels %v, want 3 to 1; another seed differs: %v", count, differ)
	}
	if newMix(5, "w", nil).route(lasting, 3) != 0 {
		t.Error("without a mix there is one route")
	}
}

// shownConn shows a TLS session.
type shownConn struct {
	net.Conn
	state tls.ConnectionState
}

func (c shownConn) ConnectionState() tls.ConnectionState { return c.state }

func TestSessionsAreWhatWasAskedFor(t *testing.T) {
	full := shownConn{state: tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519}}
	resumed := full
	resumed.state.DidResume = true

	curve := negotiated{want: TLSShape{Curve: "P-256"}}
	if err := curve.see(full); err == nil || !strings.Contains(err.Error(), "agreed on X25519, not on P-256") {
		t.Errorf("another curve: %v", err)
	}
	if err := curve.see(&net.TCPConn{}); err == nil {
		t.Error("a path without TLS was taken for one with a curve")
	}
	n := negotiated{want: TLSShape{Resume: true}}
	if err := n.see(full); err != nil {
		t.Errorf("the one that fetches the ticket: %v", err)
	}
	n.prime()
	if err := n.see(full); err == nil || !strings.Contains(err.Error(), "was not resumed") {
		t.Errorf("a full handshake in a resumed arm: %v", err)
	}
	if err := n.see(resumed); err != nil {
		t.Error(err)
	}
	if got := tlsWords([]*negotiated{&n}); got["resumed"] != "yes" || got["curve"] != "X25519" || got["version"] != "TLS 1.3" {
		t.Errorf("words %v", got)
	}
	plain := negotiated{}
	if err := errors.Join(plain.see(full), plain.see(full), plain.see(resumed)); err != nil {
		t.Error(err)
	}
	if got := tlsWords([]*negotiated{&plain}); got["resumed"] != "1 of 3" {
		t.Errorf("words %v", got)
	}
	if tlsWords([]*negotiated{{}}) != nil {
		t.Error("words about no session")
	}
}

// Of a rate more is better: half of the throughput is slower.
func TestThroughputIsComparedTheOtherWay(t *testing.T) {
	r := &run{plan: &Plan{Seed: 1}, w: &WorkloadPlan{}, arms: []*armState{{Arm: Arm{Path: "a"}}, {Arm: Arm{Path: "b"}}}}
	for i := range 12 {
		took := time.Second + time.Duration(i)*time.Millisecond
		r.arms[0].pairs = append(r.arms[0].pairs, map[string]windowStat{metricBytes: moved{1, 1 << 20, took}.stat(), metricThroughput: rateStat(100, 200+float64(i))})
		r.arms[1].pairs = append(r.arms[1].pairs, map[string]windowStat{metricBytes: moved{1, 1 << 20, 2*took + time.Millisecond}.stat(), metricThroughput: rateStat(50, 100+float64(i)/2)})
	}
	all := r.compare()
	for i, metric := range []string{metricBytes, metricThroughput} {
		if len(all) != 2 || all[i].Metric != metric || all[i].Verdict != "slower" || all[i].Ratio > 0.51 || all[i].Ratio < 0.49 || all[i].DeltaNS != 0 {
			t.Errorf("%s: got %+v", metric, all)
		}
	}
}
