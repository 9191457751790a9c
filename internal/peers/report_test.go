//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func samples(ops ...int64) []sample {
	var list []sample
	for _, n := range ops {
		list = append(list, sample{Seconds: 1, Ops: n})
	}
	return list
}

func TestRatioIsTakenRoundByRound(t *testing.T) {
	r := row{name: "trips", figures: []figure{{"trips/s", perSecond, &target{peer: haproxySplice, limit: 1, atLeast: true}}}}
	// The machine slows down by half between the rounds, which the medians alone would take for a difference.
	lines := r.results(map[string][]sample{ours: samples(100, 50, 60), haproxySplice: samples(80, 40, 60)})
	got := lines[0].Arms[haproxySplice]
	want := cell{Rounds: []float64{80, 40, 60}, Median: 60, Ratio: &span{Median: 1.25, Low: 1, High: 1.25}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if lines[0].Reached == nil || !*lines[0].Reached {
		t.Error("1.25 does not reach 1")
	}
}

func TestTargets(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		target  *target
		samples map[string][]sample
		want    *bool
	}{
		"none":                           {nil, map[string][]sample{ours: samples(1)}, nil},
		"the worst round counts":         {&target{limit: 2}, map[string][]sample{ours: samples(1, 1, 3)}, &no},
		"at least, in the worst round":   {&target{limit: 2, atLeast: true}, map[string][]sample{ours: samples(2, 3)}, &yes},
		"zero is a limit":                {&target{limit: 0}, map[string][]sample{ours: samples(0)}, &yes},
		"the peer was not measured":      {&target{peer: haproxySplice, limit: 1}, map[string][]sample{ours: samples(1)}, nil},
		"we were not measured":           {&target{limit: 1}, map[string][]sample{haproxySplice: samples(1)}, nil},
		"as much as the peer":            {&target{peer: haproxySplice, limit: 1}, map[string][]sample{ours: samples(5), haproxySplice: samples(5)}, &yes},
		"a peer of nothing is no ratio":  {&target{peer: haproxySplice, limit: 1}, map[string][]sample{ours: samples(5), haproxySplice: samples(0)}, &no},
		"the best peer is the cheapest":  {&target{peer: bestPeer, limit: 1}, map[string][]sample{ours: samples(5), haproxyPlain: samples(6), nginxPlain: samples(4)}, &no},
		"the best peer is the fastest":   {&target{peer: bestPeer, limit: 1, atLeast: true}, map[string][]sample{ours: samples(5), haproxyPlain: samples(6), nginxPlain: samples(4)}, &no},
		"better than the best of all":    {&target{peer: bestPeer, limit: 1}, map[string][]sample{ours: samples(3), haproxyPlain: samples(6), nginxPlain: samples(4)}, &yes},
		"no peer at all is not the best": {&target{peer: bestPeer, limit: 1}, map[string][]sample{ours: samples(3)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := row{figures: []figure{{"n", perSecond, c.target}}}
			lines := r.results(c.samples)
			if diff := cmp.Diff(c.want, lines[0].Reached); diff != "" {
				t.Error(diff)
			}
			if got, want := missed(lines), c.want != nil && !*c.want; got != want {
				t.Errorf("missed says %v", got)
			}
		})
	}
}

func TestTableAndJSONSayTheSame(t *testing.T) {
	r := row{name: "trips", figures: []figure{
		{"trips/s", perSecond, &target{peer: haproxySplice, limit: 1, atLeast: true}},
		{"CPU µs/trip", cpuPerOp, nil},
	}}
	lines := r.results(map[string][]sample{ours: samples(90, 100), haproxySplice: samples(100, 100), nginxPlain: samples(0, 50)})
	var b bytes.Buffer
	printTable(&b, lines[:1])
	got := strings.Join(strings.Fields(strings.Split(b.String(), "\n")[1]), " ")
	if want := "trips trips/s 95 100 (0.95: 0.90-1.00) - 25 - ≥ 1 × haproxy-splice NO"; got != want {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
	data, err := json.Marshal(lines[:1])
	if err != nil {
		t.Fatal(err)
	}
	var back []result
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines[:1], back); diff != "" {
		t.Error(diff)
	}
}

func TestEveryRowHasWhatItNeeds(t *testing.T) {
	for _, r := range table(options{rounds: 4, tunnels: 10}) {
		if len(r.figures) == 0 || r.rounds < 1 || len(r.arms) == 0 || r.arms[0] != ours || r.job.Via == "" || r.job.Service == "" {
			t.Errorf("%s: %+v", r.name, r)
		}
		for _, f := range r.figures {
			if f.target != nil && f.target.peer != "" && f.target.peer != bestPeer && !strings.Contains(strings.Join(r.arms, " "), f.target.peer) {
				t.Errorf("%s is to be held against %s, which is not measured", r.name, f.target.peer)
			}
		}
	}
}

func TestPerfCounts(t *testing.T) {
	line := func(count, call string) string { return count + ",,syscalls:sys_enter_" + call + ",1000,100.00,,\n" }
	var all strings.Builder
	all.WriteString("# started on Wed Nov 25\n\n")
	for _, call := range unseen {
		all.WriteString(line("0", call))
	}
	got, err := parseCounts(all.String() + line("15013", splicing))
	if err != nil || got[splicing] != 15013 || len(got) != len(unseen)+1 {
		t.Errorf("%v, %v", got, err)
	}
	for name, text := range map[string]string{
		"a call is missing":       all.String(),
		"a call was not counted":  all.String() + line("<not counted>", splicing),
		"nothing but the comment": "# started\n",
	} {
		if got, err := parseCounts(text); err == nil {
			t.Errorf("%s: taken as %v", name, got)
		}
	}
}
