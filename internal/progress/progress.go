// Package progress shows a person how far a run is: bars on a terminal, one plain line per step when not, nothing when
// quiet. It is the only package that imports mpb.
package progress

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Options choose how progress is shown.
type Options struct {
	// TTY draws bars; otherwise lines are printed.
	TTY bool
	// Quiet prints nothing.
	Quiet bool
	// Every is the time between two lines of one step that is not on a terminal; 10 s when zero.
	Every time.Duration
}

// Progress is the progress of one run. Its methods may be called from any goroutine.
type Progress struct {
	opt Options
	w   io.Writer
	mpb *mpb.Progress // nil without a terminal

	stop  chan struct{} // closed by Close; nil when there are no lines to write
	ended chan struct{} // closed when beat has returned
	once  sync.Once

	mu    sync.Mutex // guards what follows, and lines written to w
	steps []*Step
}

// New makes a progress that is written to w, until Close. No colour is used on a terminal or off it, so NO_COLOR has nothing
// to turn off.
func New(w io.Writer, opt Options) *Progress {
	if opt.Every == 0 {
		opt.Every = 10 * time.Second
	}
	p := &Progress{opt: opt, w: w}
	if opt.TTY && !opt.Quiet {
		p.mpb = mpb.New(mpb.WithOutput(w), mpb.WithAutoRefresh(), mpb.WithWidth(40), mpb.WithRefreshRate(120*time.Millisecond))
	}
	if !opt.TTY && !opt.Quiet {
		p.stop, p.ended = make(chan struct{}), make(chan struct{})
		go p.beat(max(opt.Every, time.Second))
	}
	return p
}

// beat writes a line for each step that has been silent for so long, so that a log never looks dead. Close waits for it.
func (p *Progress) beat(every time.Duration) {
	defer close(p.ended)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-ticker.C:
			for _, text := range p.silent(now, every) {
				p.line("%s", text)
			}
		}
	}
}

// silent says how far the steps are that have not been heard of for so long.
func (p *Progress) silent(now time.Time, every time.Duration) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, s := range p.steps {
		if s.over || now.Sub(s.last) < every {
			continue
		}
		s.last = now
		text := fmt.Sprintf("%s: still running after %s", s.name, now.Sub(s.start).Round(time.Second))
		if s.total > 0 {
			text += fmt.Sprintf(", %d of %d", s.done, s.total)
		} else if s.done > 0 {
			text += fmt.Sprintf(", %d done", s.done)
		}
		parts := []string{text, s.note, s.going(now)}
		lines = append(lines, strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", "))
	}
	return lines
}

// Step is one part of a run.
type Step struct {
	p     *Progress
	name  string
	start time.Time
	bar   *mpb.Bar

	// Guarded by p.mu.
	done, total int
	note        string
	figures     string
	last        time.Time
	over        bool
}

// Step begins a part; total is the number of Add(1) that are expected, 0 when not known.
func (p *Progress) Step(name string, total int) *Step {
	s := &Step{p: p, name: name, start: time.Now(), last: time.Now(), total: total}
	p.mu.Lock()
	p.steps = append(p.steps, s)
	p.mu.Unlock()
	if p.mpb != nil {
		s.bar = p.mpb.New(int64(total), mpb.BarStyle().Lbound("").Filler("━").Tip("━").Padding("─").Rbound(""),
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(
				decor.CountersNoUnit("%d/%d", decor.WCSyncSpaceR),
				decor.Any(func(st decor.Statistics) string { return s.text(st.Completed || st.Aborted) }),
			))
		return s
	}
	p.line("%s …", name)
	return s
}

// text is what stands behind the bar: the last note, and how it is going.
func (s *Step) text(over bool) string {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	going := s.figures
	if !over {
		going = s.going(time.Now())
	}
	return strings.Join(slices.DeleteFunc([]string{s.note, going}, func(part string) bool { return part == "" }), " · ")
}

// going is the figures of a step that has some, with a guess of how long it will take still: what has figures is of equal parts, so
// that the rest goes as what has been done. It wants p.mu.
func (s *Step) going(now time.Time) string {
	if s.figures == "" || s.done <= 0 || s.total <= s.done {
		return s.figures
	}
	left := time.Duration(float64(now.Sub(s.start)) / float64(s.done) * float64(s.total-s.done))
	return s.figures + ", " + left.Round(time.Second).String() + " left"
}

// Figures says how it is going. On a terminal they stand behind the bar; else they are in the next line that is due anyway.
func (s *Step) Figures(text string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.figures = text
}

// Total sets the number of Add(1) that are expected.
func (s *Step) Total(n int) {
	s.p.mu.Lock()
	s.total = n
	s.p.mu.Unlock()
	if s.bar != nil {
		s.bar.SetTotal(int64(n), false)
	}
}

// Add says that n more have been done.
func (s *Step) Add(n int) {
	s.p.mu.Lock()
	s.done += n
	done, total, note := s.done, s.total, s.note
	if going := s.going(time.Now()); going != "" {
		note += ", " + going
	}
	due := time.Since(s.last) >= s.p.opt.Every
	if due {
		s.last = time.Now()
	}
	s.p.mu.Unlock()
	switch {
	case s.bar != nil:
		s.bar.IncrBy(n)
	case due && total > 0:
		s.p.line("%s: %d of %d %s", s.name, done, total, note)
	case due:
		s.p.line("%s: %d %s", s.name, done, note)
	}
}

// Note says what is being done just now.
func (s *Step) Note(text string) {
	s.p.mu.Lock()
	s.note = text
	if s.bar == nil {
		s.last = time.Now()
	}
	s.p.mu.Unlock()
	if s.bar == nil {
		s.p.line("%s: %s", s.name, text)
	}
}

// Done ends the step.
func (s *Step) Done() {
	s.p.mu.Lock()
	over := s.over
	s.over, s.note = true, ""
	done, figures := s.done, s.figures
	if figures != "" {
		figures = ", " + figures
	}
	s.p.mu.Unlock()
	if over {
		return
	}
	if s.bar != nil {
		s.bar.SetTotal(-1, true) // complete, however many came
		return
	}
	took := time.Since(s.start).Round(10 * time.Millisecond)
	if done > 0 {
		s.p.line("%s: %d done in %s%s", s.name, done, took, figures)
	} else {
		s.p.line("%s: done in %s", s.name, took)
	}
}

func (p *Progress) line(format string, args ...any) {
	if p.opt.Quiet || p.mpb != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Close ends everything, finished or not, and returns when nothing more will be written. It does not block on a step that
// was never done: mpb waits for every bar, so those are given up first.
func (p *Progress) Close() {
	if p.stop != nil {
		p.once.Do(func() { close(p.stop) })
		<-p.ended
	}
	if p.mpb == nil {
		return
	}
	p.mu.Lock()
	steps := p.steps
	p.mu.Unlock()
	for _, s := range steps {
		s.bar.Abort(false)
	}
	p.mpb.Wait()
}
