package lab

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// Play is the scenario's timeline of faults at work.
type Play struct {
	lab   *Lab
	began time.Time
	stop  context.CancelFunc
	done  chan struct{}
	apart sync.WaitGroup // faults that last, and those that take their time

	mu     sync.Mutex // guards what follows
	faults []result.Fault
}

// PlayFaults begins the timeline: each fault is injected when its time comes, until Stop or the end of ctx. The same seed makes chance
// the same.
func (l *Lab) PlayFaults(ctx context.Context, seed int64) *Play {
	p := &Play{lab: l, began: time.Now(), done: make(chan struct{}), faults: []result.Fault{}}
	for i, f := range l.scenario.Topology.Faults {
		entry := result.Fault{
			AtNS: int64(f.At), Hop: f.Hop, Backend: f.Backend, Paths: []string{}, Direction: f.Direction, Kind: f.Kind, Detail: measures(f),
			Seed: rand.New(rand.NewPCG(uint64(seed), uint64(i))).Uint64() >> 11, //nolint:gosec // it is to be the same each time, and a number that JSON has room for
		}
		for _, s := range l.seams(f) {
			entry.Paths = append(entry.Paths, s.path)
		}
		if f.Backend != "" { // whichever way one comes to it
			entry.Paths = slices.Concat(l.scenario.Topology.Paths, l.scenario.Topology.PeerNames())
		}
		p.faults = append(p.faults, entry)
	}
	ctx, p.stop = context.WithCancel(ctx)
	l.playing.Store(p)
	go p.run(ctx)
	return p
}

// Stop ends the timeline and says what came of it. Faults that have no end of their own last; a backend that was to come back does.
func (p *Play) Stop() []result.Fault {
	p.stop()
	<-p.done
	p.apart.Wait()
	p.lab.playing.CompareAndSwap(p, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

func (p *Play) run(ctx context.Context) {
	defer close(p.done)
	script := p.lab.scenario.Topology.Faults
	order := make([]int, len(script))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(script[a].At, script[b].At) })
	for _, i := range order {
		wait := time.NewTimer(time.Until(p.began.Add(time.Duration(script[i].At))))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		p.mu.Lock() // before it can strike
		p.faults[i].Injected, p.faults[i].InjectedNS = true, int64(time.Since(p.began))
		seed := p.faults[i].Seed
		p.mu.Unlock()
		if f := script[i]; f.Backend != "" {
			p.apart.Go(func() {
				if err := p.strikeBackend(ctx, f); err != nil {
					p.lab.opt.Failed(fmt.Errorf("fault %s of backend %s: %w", f.Kind, f.Backend, err))
				}
			})
			continue
		}
		for _, s := range p.lab.seams(script[i]) {
			if t := p.lab.tape; t != nil {
				t.timeline.add(way{s.path, script[i].Hop}, albsim.Event{
					Time: time.Now(), Kind: kindInject, Direction: script[i].Direction, Detail: strings.TrimSpace(script[i].Kind + " " + measures(script[i])),
				})
			}
			if err := s.inject(ctx, script[i], seed); err != nil && ctx.Err() == nil {
				p.lab.opt.Failed(fmt.Errorf("fault %s at hop %s: %w", script[i].Kind, script[i].Hop, err))
				return
			}
		}
	}
}

// struck notes what a fault did to a connection.
func (p *Play) struck(path string, e albsim.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.faults, func(f result.Fault) bool { return f.Seed == e.Injection.Seed && f.Kind == e.Injection.Kind })
	if i < 0 { // one of a profile's own
		return
	}
	f := &p.faults[i]
	f.Struck++
	if len(f.Strikes) < result.MaxStrikes {
		f.Strikes = append(f.Strikes, result.Strike{AtNS: int64(e.Time.Sub(p.began)), Path: path, Direction: e.Direction})
	}
}

// seam is where a fault gets at a hop of a path.
type seam struct {
	path    string
	cluster *cluster
	hop     string // the simulator's word
}

// seams are those of a fault, one a path that has the hop: the simulator that the hop begins at where there is one, else that which it
// leads to, which is also the one to rotate.
func (l *Lab) seams(f scenario.Fault) []seam {
	var list []seam
	for _, c := range l.chains {
		for i := range len(c.nodes) + 1 {
			if scenario.HopName(c.legs(), i) != f.Hop {
				continue
			}
			from, to := scenario.Simulated(c.legs(), i)
			switch {
			case from && f.Kind != scenario.KindRotate:
				list = append(list, seam{c.path, c.nodes[i-1].alb, "target"})
			case to:
				list = append(list, seam{c.path, c.nodes[i].alb, "client"})
			}
		}
	}
	return list
}

func (s seam) inject(ctx context.Context, f scenario.Fault, seed uint64) error {
	if f.Kind == scenario.KindRotate {
		return s.cluster.rotate(ctx)
	}
	i := injection(f, s.hop, s.cluster.place.next.Address)
	i.Seed = seed
	return s.cluster.inject(i)
}

// injection is a fault in the simulator's words, for now: its time has come.
func injection(f scenario.Fault, hop, target string) albsim.Injection {
	i := albsim.Injection{
		Kind: f.Kind, Hop: hop, Direction: f.Direction, AtByte: f.AtByte, For: albsim.Duration(f.For), Clock: "server",
		Delay: albsim.Duration(f.Delay), Jitter: albsim.Duration(f.Jitter), BytesPerSecond: f.BytesPerSecond, Bytes: f.Bytes,
	}
	if f.Kind == "target-death" {
		i.Target = target
	}
	return i
}

// checkFaults asks the simulator about the measures of the timeline's faults.
func checkFaults(sc *scenario.Scenario) []scenario.Problem {
	var problems []scenario.Problem
	for n, f := range sc.Topology.Faults {
		if f.Kind == "" || f.Kind == scenario.KindRotate || f.Hop == "" || f.Backend != "" {
			continue // of what the schema refused it has been said
		}
		for _, fault := range injection(f, "target", "next").Check() {
			field := strings.TrimPrefix(fault.Path, "fault.")
			at := append([]string{"topology"}, pointer("faults", n, field)...)
			problems = append(problems, scenario.Problem{At: at, Message: field + ": " + fault.Message})
		}
	}
	return problems
}

// measures are what a fault goes by, in words.
func measures(f scenario.Fault) string {
	var words []string
	add := func(set bool, format string, value any) {
		if set {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	add(f.Delay != 0, "delay %v", time.Duration(f.Delay))
	add(f.Jitter != 0, "jitter up to %v", time.Duration(f.Jitter))
	add(f.BytesPerSecond != 0, "%d bytes a second", f.BytesPerSecond)
	add(f.Bytes != 0 && f.Kind == "split", "pieces of at most %d bytes", f.Bytes)
	add(f.Bytes != 0 && f.Kind != "split", "pieces of %d bytes", f.Bytes)
	add(f.AtByte != 0, "behind %d bytes", f.AtByte)
	add(f.For != 0, "for %v", time.Duration(f.For))
	return strings.Join(words, ", ")
}
