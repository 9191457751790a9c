package reportserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, http.NoBody))
	return w
}

// clock is a time that the test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestLivePageGrowsWithTheRun(t *testing.T) {
	g := result.NewGrowing(result.Run{Schema: result.Schema, Scenario: result.Scenario{Name: "alb"}, Run: result.Info{Started: time.Unix(1000, 0)}})
	made := 0
	page := NewLive(5*time.Second, func() *result.Run { made++; return g.Copy() })
	c := &clock{now: time.Unix(1010, 0)}
	page.now = c.Now
	first := get(page, "/").Body.String()
	for _, want := range []string{`http-equiv="refresh" content="5"`, "under way", "10 s so far", "running"} {
		if !strings.Contains(first, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"<script", "interrupted", "Nothing was executed", "What to do next"} {
		if strings.Contains(first, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	g.Change(func(r *result.Run) {
		r.Conformance = &result.Conformance{Results: []result.CheckResult{{Check: "DET-77", Group: "DET", Verdict: result.CheckFail}}}
		r.Bench = &result.Bench{Workloads: []result.Workload{{Name: "echo", Arms: []result.Arm{{Path: "direct", Requests: 4711}}}}}
	})
	if again := get(page, "/").Body.String(); again != first || made != 1 {
		t.Errorf("within the interval the page was made %d times", made)
	}
	c.add(5 * time.Second)
	later := get(page, "/").Body.String()
	for _, want := range []string{"DET-77", "4,711", "15 s so far", "whether the measurement is valid is looked at when it is over"} {
		if !strings.Contains(later, want) {
			t.Errorf("the later page lacks %q", want)
		}
	}
	if strings.Contains(later, "not valid") {
		t.Error("a measurement under way is called not valid")
	}
	if w := get(page, "/etc/passwd"); w.Code != http.StatusNotFound {
		t.Errorf("another path: %d", w.Code)
	}
}

func TestFinalPageIsSentToWhoeverLooks(t *testing.T) {
	g := result.NewGrowing(result.Run{Schema: result.Schema})
	page := NewLive(time.Hour, g.Copy)
	get(page, "/") // somebody looks
	done := make(chan error)
	go func() { done <- page.Finish(t.Context(), &result.Run{Schema: result.Schema, Verdict: result.Pass}) }()
	for { // each refresh, until the final page is there
		body := get(page, "/").Body.String()
		if !strings.Contains(body, "http-equiv=\"refresh\"") {
			if !strings.Contains(body, "</span> pass</h1>") {
				t.Errorf("the final page has no verdict")
			}
			break
		}
	}
	if err := <-done; err != nil { // an hour's refresh twice, or the page was seen
		t.Error(err)
	}
}

func TestFinishDoesNotWaitForNobody(t *testing.T) {
	c := &clock{now: time.Unix(0, 0)}
	page := NewLive(time.Hour, result.NewGrowing(result.Run{}).Copy)
	page.now = c.Now
	if err := page.Finish(t.Context(), &result.Run{}); err != nil { // nobody ever looked: this returns at once, or the test hangs
		t.Error(err)
	}
	page = NewLive(time.Hour, result.NewGrowing(result.Run{}).Copy)
	page.now = c.Now
	get(page, "/")
	c.add(3 * time.Hour) // who looked has gone
	if err := page.Finish(t.Context(), &result.Run{}); err != nil {
		t.Error(err)
	}
	get(page, "/")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	again := NewLive(time.Hour, result.NewGrowing(result.Run{}).Copy)
	get(again, "/")
	if err := again.Finish(ended, &result.Run{}); err != nil { // an interrupt does not wait either
		t.Error(err)
	}
}

func TestSwitchAnswersBeforeTheFirstRun(t *testing.T) {
	var s Switch
	if w := get(&s, "/"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Refresh") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	s.To(http.NotFoundHandler())
	if w := get(&s, "/"); w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

// The page is asked for while the run changes: the race detector watches.
func TestLiveIsReadWhileTheRunChanges(t *testing.T) {
	g := result.NewGrowing(result.Run{Schema: result.Schema, Topology: []result.Path{{Name: "direct"}}})
	page := NewLive(0, g.Copy)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 30 {
			get(page, "/")
		}
	})
	for i := range 100 {
		g.Change(func(r *result.Run) {
			if r.Conformance == nil {
				r.Conformance = &result.Conformance{}
			}
			r.Conformance.Results = append(r.Conformance.Results, result.CheckResult{Check: "A", Group: "DET", Verdict: result.CheckPass})
			r.Bench = &result.Bench{Workloads: []result.Workload{{Name: "echo", Windows: i}}}
			r.CountTLS()
		})
	}
	wg.Wait()
	final := g.Copy()
	final.Judge()
	if err := page.Finish(t.Context(), final); err != nil {
		t.Error(err)
	}
}
