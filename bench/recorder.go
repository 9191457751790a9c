package bench

import (
	"fmt"
	"io"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The geometry of every histogram: nanoseconds, 0.1 per cent. 221 kB each; the phases of an arm have two, whatever the
// number of tunnels (a histogram per connection would be gigabytes; facts/libraries.md).
const (
	histMin    = 1
	histMax    = int64(time.Minute)
	histDigits = 3
)

func newHistogram() *hdr.Histogram { return hdr.New(histMin, histMax, histDigits) }

// phaseRecorder holds one phase of one arm: the current window, and everything before it.
type phaseRecorder struct {
	mu       sync.Mutex // guards all below
	window   *hdr.Histogram
	total    *hdr.Histogram
	blocks   []block // of the total, for tail.go
	overflow int64   // beyond histMax in the current window
}

// record takes one duration. What is beyond a minute is recorded as a minute and counted: dropping it would flatter the tail.
func (p *phaseRecorder) record(d time.Duration) {
	v := max(int64(d), histMin)
	p.mu.Lock()
	if v > histMax {
		v = histMax
		p.overflow++
	}
	_ = p.window.RecordValue(v) // fails out of range only
	p.mu.Unlock()
}

// armRecorder holds the phases of one arm. Phases appear when they are first recorded.
type armRecorder struct {
	mu     sync.Mutex // guards phases
	phases map[string]*phaseRecorder
}

func newArmRecorder() *armRecorder { return &armRecorder{phases: map[string]*phaseRecorder{}} }

func (a *armRecorder) phase(name string) *phaseRecorder {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.phases[name]
	if p == nil {
		p = &phaseRecorder{window: newHistogram(), total: newHistogram()}
		a.phases[name] = p
	}
	return p
}

// The quantiles that are taken of each window and compared, and their names.
var (
	quantiles     = [3]float64{0.50, 0.90, 0.99}
	quantileNames = [3]string{"p50", "p90", "p99"}
)

// windowStat is one phase in one window.
type windowStat struct {
	n int64
	q [3]float64 // ns
}

// windowQuantile looks at the current window; 0 when it has no samples of that phase.
func (a *armRecorder) windowQuantile(phase string, q float64) time.Duration {
	p := a.phase(phase)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.window.TotalCount() == 0 {
		return 0
	}
	return time.Duration(p.window.ValueAtQuantile(q * 100))
}

// windowCount is the number of samples of a phase in the current window.
func (a *armRecorder) windowCount(phase string) int64 {
	p := a.phase(phase)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.window.TotalCount()
}

// What goes before the tag of a window that is not in the totals.
const (
	excludedTag = "excluded."
	warmupTag   = "warmup."
	searchTag   = "search."
)

// endWindow closes the current window: into the log under the tag arm.phase behind prefix, out as quantiles, and into the totals if
// there is no prefix. It returns the number of values that overflowed.
func (a *armRecorder) endWindow(arm string, from, to time.Time, prefix string, log *intervalLog) (map[string]windowStat, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]windowStat{}
	var overflow int64
	for _, name := range result.Phases { // in this order, so that two logs of one seed can be compared line by line
		p := a.phases[name]
		if p == nil {
			continue
		}
		p.mu.Lock()
		if n := p.window.TotalCount(); n > 0 {
			st := windowStat{n: n}
			for i, q := range quantiles {
				st.q[i] = float64(p.window.ValueAtQuantile(q * 100))
			}
			out[name] = st
			p.window.SetTag(prefix + arm + "." + name)
			p.window.SetStartTimeMs(from.UnixMilli())
			p.window.SetEndTimeMs(to.UnixMilli())
			log.write(p.window)
			if prefix == "" {
				p.total.Merge(p.window)
				p.blocks = addBlock(p.blocks, p.window)
			}
			overflow += p.overflow
		}
		p.reset()
		p.mu.Unlock()
	}
	return out, overflow
}

func (p *phaseRecorder) reset() {
	p.window.Reset()
	p.overflow = 0
}

// totals is what the arm has over all whole windows.
func (a *armRecorder) totals() map[string]result.Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]result.Phase{}
	for name, p := range a.phases {
		if p.total.TotalCount() > 0 {
			out[name] = summary(p.total, p.blocks)
		}
	}
	return out
}

// intervalLog writes HdrHistogram V2 interval logs, one line a phase and window. The first error sticks; a nil log discards.
type intervalLog struct {
	name string
	out  io.WriteCloser
	w    *hdr.HistogramLogWriter
	err  error
}

func openLog(open func(string) (io.WriteCloser, error), name string, comments ...string) (*intervalLog, error) {
	if open == nil {
		return nil, nil
	}
	out, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", name, err)
	}
	l := &intervalLog{name: name, out: out, w: hdr.NewHistogramLogWriter(out)}
	for _, c := range comments {
		l.keep(l.w.OutputComment(" " + c))
	}
	l.keep(l.w.OutputLogFormatVersion())
	l.keep(l.w.OutputStartTime(time.Now().UnixMilli()))
	l.keep(l.w.OutputLegend())
	return l, nil
}

func (l *intervalLog) write(h *hdr.Histogram) {
	if l != nil && l.err == nil {
		l.keep(l.w.OutputIntervalHistogram(h))
	}
}

// pair marks the intervals that follow (intervals.go).
func (l *intervalLog) pair(n int) {
	if l != nil && l.err == nil {
		_, err := fmt.Fprintf(l.out, "%s%d]\n", pairMark, n)
		l.keep(err)
	}
}

func (l *intervalLog) keep(err error) {
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("write the log %s: %w", l.name, err)
	}
}

func (l *intervalLog) close() error {
	if l == nil {
		return nil
	}
	if err := l.out.Close(); err != nil {
		l.keep(err)
	}
	return l.err
}
