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

	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	onIdle func()
	armed  bool
	fired  bool
}

// epoch makes monotonic times comparable as integers.
var epoch = time.Now()

// touch is called for every byte; nil-safe.
func (w *watchdog) touch() {
	if w != nil {
		w.last.Store(int64(time.Since(epoch)))
	}
}

// arm starts a phase. onIdle must not block: it sets deadlines or hands over.
func (w *watchdog) arm(onIdle func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch()
	w.onIdle, w.armed, w.fired = onIdle, true, false
	if w.timer == nil {
		w.timer = time.AfterFunc(w.timeout, w.check)
		return
	}
	w.timer.Reset(w.timeout)
}

func (w *watchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed {
		return
	}
	if rest := w.timeout - (time.Since(epoch) - time.Duration(w.last.Load())); rest > 0 {
		w.timer.Reset(rest)
		return
	}
	w.armed, w.fired = false, true
	if w.told != nil {
		w.told()
	}
	w.onIdle()
}

// disarm ends a phase and tells whether the timeout struck in it.
func (w *watchdog) disarm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if w.timer != nil {
		w.timer.Stop()
	}
	return w.fired
}
