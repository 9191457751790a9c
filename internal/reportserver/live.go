package reportserver

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

// Live is the page of a run that goes on. It is made from a copy of the run when somebody asks, at most once in Every, so that a page
// that nobody looks at costs the measurement nothing, and one that many look at little.
type Live struct {
	snapshot func() *result.Run
	every    time.Duration
	now      func() time.Time

	mu    sync.Mutex // guards all below
	page  []byte
	made  time.Time
	asked time.Time
	final bool
	seen  chan struct{} // closed when the final page has been sent
	once  sync.Once
}

// NewLive shows what snapshot returns, until Finish.
func NewLive(every time.Duration, snapshot func() *result.Run) *Live {
	return &Live{snapshot: snapshot, every: every, now: time.Now, seen: make(chan struct{})}
}

func (l *Live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" && r.URL.Path != "/report.html" {
		http.NotFound(w, r)
		return
	}
	page, final, err := l.current()
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if _, err := w.Write(page); err == nil && final && r.Method == http.MethodGet {
		l.once.Do(func() { close(l.seen) })
	}
}

// current makes the page again when it is old. Those who ask meanwhile wait for it.
func (l *Live) current() (page []byte, final bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.asked = now
	if l.page == nil || !l.final && now.Sub(l.made) >= l.every {
		var buf bytes.Buffer
		if err := reports.WriteLivePage(&buf, l.snapshot(), now, l.every); err != nil {
			return nil, false, err
		}
		l.page, l.made = buf.Bytes(), now
	}
	return l.page, l.final, nil
}

// Finish puts the final report in the page's place. Where somebody was looking of late, it returns when the final page has been sent, or
// after two refreshes, or when ctx ends.
func (l *Live) Finish(ctx context.Context, run *result.Run) error {
	html, err := reports.Get("html")
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := html.Write(&buf, run); err != nil {
		return err
	}
	l.mu.Lock()
	l.page, l.final = buf.Bytes(), true
	watched := !l.asked.IsZero() && l.now().Sub(l.asked) < 2*l.every
	l.mu.Unlock()
	if !watched {
		return nil
	}
	timer := time.NewTimer(2 * l.every)
	defer timer.Stop()
	select {
	case <-l.seen:
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// Switch answers with one handler after the other.
type Switch struct {
	mu   sync.Mutex // guards page
	page http.Handler
}

// To lets h answer from now on.
func (s *Switch) To(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = h
}

func (s *Switch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.page
	s.mu.Unlock()
	if h == nil {
		w.Header().Set("Refresh", "1")
		http.Error(w, "the run has not begun", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}
