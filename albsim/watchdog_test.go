package albsim

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A phase of silence is measured from its own beginning or its last byte, whatever the timer was set for in the phase before.
func TestWatchdogMeasuresEachPhaseByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		var struck atomic.Int32
		w := &watchdog{timeout: timeout}
		defer w.disarm()
		for phase := range 3 {
			w.arm(func() { struck.Add(1) })
			time.Sleep(timeout - time.Second)
			w.touch()
			time.Sleep(timeout - time.Second) // the timer has gone off meanwhile, and found a byte
			synctest.Wait()
			if idle := w.pause(); idle || struck.Load() != 0 {
				t.Fatalf("phase %d: struck %d times, %t, with a byte in between", phase, struck.Load(), idle)
			}
		}
		w.arm(func() { struck.Add(1) })
		time.Sleep(timeout - time.Nanosecond)
		synctest.Wait()
		if struck.Load() != 0 {
			t.Fatal("struck too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if idle := w.pause(); !idle || struck.Load() != 1 {
			t.Fatalf("struck %d times, %t, want once", struck.Load(), idle)
		}
		time.Sleep(3 * timeout)
		synctest.Wait()
		if struck.Load() != 1 {
			t.Fatalf("struck %d times, want once", struck.Load())
		}
	})
}

func TestPausedWatchdogIsSilent(t *testing.T) {
	for name, end := range map[string]func(*watchdog) bool{"pause": (*watchdog).pause, "disarm": (*watchdog).disarm} {
		synctest.Test(t, func(t *testing.T) {
			w := &watchdog{timeout: time.Second}
			w.arm(func() { t.Errorf("%s: struck", name) })
			end(w)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			struck := false
			w.arm(func() { struck = true }) // and it can be armed again
			time.Sleep(time.Second)
			synctest.Wait()
			if idle := end(w); !idle || !struck {
				t.Errorf("%s: armed again it did not strike", name)
			}
		})
	}
}
