package albsim

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog calls a function once when no byte has moved for its timeout. One stands over each front connection and is
// lent to the target connection of the moment, since the idle timeout is one for both legs.
type watchdog struct {
	timeout time.Duration
	told    func()       // of its striking; nil for nobody
	last    atomic.Int64 // of the last byte, in nanoseconds since epoch

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	ticking bool // a check is to come
	onIdle  func()
	armed   bool
	fired   bool
}

// epoch makes monotonic times comparable as integers.
var epoch = time.Now()

// touch is called for every byte; nil-safe.
func (w *watchdog) touch() {
	if w != nil {
		w.last.Store(int64(time.Since(epoch)))
	}
}

// arm starts a phase. onIdle must not block: it sets deadlines or hands over. A timer that still runs from the phase before is
// left to find out, when it goes off, how long there is still to wait.
func (w *watchdog) arm(onIdle func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch()
	w.onIdle, w.armed, w.fired = onIdle, true, false
	if !w.ticking {
		w.tick(w.timeout)
	}
}

// tick has check called; mu is held.
func (w *watchdog) tick(in time.Duration) {
	if w.ticking = true; w.timer == nil {
		w.timer = time.AfterFunc(in, w.check)
		return
	}
	w.timer.Reset(in)
}

func (w *watchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticking = false
	if !w.armed {
		return
	}
	if rest := w.timeout - (time.Since(epoch) - time.Duration(w.last.Load())); rest > 0 {
		w.tick(rest)
		return
	}
	w.armed, w.fired = false, true
	if w.told != nil {
		w.told()
	}
	w.onIdle()
}

// pause ends a phase and tells whether the timeout struck in it. The timer goes on for the next phase: of many short ones none
// touches it. The last is ended by disarm.
func (w *watchdog) pause() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.onIdle = false, nil
	return w.fired
}

// disarm is pause for good.
func (w *watchdog) disarm() bool {
	fired := w.pause()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil && w.timer.Stop() {
		w.ticking = false // else check is on its way
	}
	return fired
}
