package result

import (
	"sync"
	"testing"
)

func TestCopiesOfAGrowingRunStayAsTheyWere(t *testing.T) {
	g := NewGrowing(Run{Schema: Schema, Topology: []Path{{Name: "direct"}}})
	var wg sync.WaitGroup
	seen := make(chan *Run, 100)
	wg.Go(func() { // the reader, which the race detector watches
		defer close(seen)
		for range cap(seen) {
			c := g.Copy()
			c.Judge()
			seen <- c
		}
	})
	for i := range 200 {
		g.Change(func(r *Run) {
			if r.Conformance == nil {
				r.Conformance, r.Bench = &Conformance{}, &Bench{Validity: Validity{OK: true}}
			}
			r.Conformance.Results = append(r.Conformance.Results, CheckResult{Check: "A", Verdict: CheckPass})
			r.Bench.Workloads = append(r.Bench.Workloads, Workload{Windows: i})
			r.Topology[0].TLSConnections = i
			r.Artifacts = append(r.Artifacts, "file")
		})
	}
	wg.Wait()
	last := -1
	for c := range seen {
		n := len(c.Artifacts)
		if n < last {
			t.Errorf("a later copy has %d files after one with %d", n, last)
		}
		last = n
		if n == 0 {
			continue
		}
		if len(c.Conformance.Results) != n || len(c.Bench.Workloads) != n || c.Topology[0].TLSConnections != n-1 || c.Conformance.Totals[CheckPass] != n {
			t.Fatalf("a copy is of different moments: %d files, %d results, %d workloads, path %+v, totals %v", n, len(c.Conformance.Results),
				len(c.Bench.Workloads), c.Topology[0], c.Conformance.Totals)
		}
	}
	if c := g.Copy(); len(c.Artifacts) != 200 || c.Conformance.Totals != nil {
		t.Errorf("the run itself has %d files and totals %v of a judged copy", len(c.Artifacts), c.Conformance.Totals)
	}
}
