package lab

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	trimEvery = time.Second
	trimQuiet = 1 << 20 // bytes allocated in trimEvery that are still quiet
	trimWorth = 4 << 20 // bytes allocated since the last time that make a collection worth its while
)

// trim gives memory back to the system whenever the process has become quiet. A connection that is being opened leaves tens of
// kilobytes of garbage and a deep stack, a tunnel that idles needs a few hundred bytes: without this, what ten thousand openings left
// would lie there until the runtime's own collection, two minutes later, and longer until it is released.
func trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var trimmed, before uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		if now-before < trimQuiet && now-trimmed > trimWorth {
			debug.FreeOSMemory()
			trimmed = now
		}
		before = now
	}
}
