package backend

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// maxRecords bounds the log of one witness; the oldest records go first.
const maxRecords = 16384

// WitnessLog is what a witness saw. It is safe for concurrent use.
type WitnessLog interface {
	// Accepted is the number of TCP connections accepted so far, whatever became of them.
	Accepted() int64
	// Find returns the records of a nonce, oldest first; "" finds the connections that gave none. Counts are of this moment.
	Find(nonce string) []witness.Record
	// Wait returns the newest record of a nonce, and with finished the newest that is over, as soon as there is one. ctx
	// bounds the wait; the error then says how far the connection came.
	Wait(ctx context.Context, nonce string, finished bool) (witness.Record, error)
}

// witnessLog is that of a witness in this process.
type witnessLog struct {
	accepted atomic.Int64

	mu      sync.Mutex // guards what follows
	order   []*entry   // oldest first
	byNonce map[string][]*entry
	changed chan struct{} // made by a waiter, closed by the next change
}

// entry is one connection. rec is guarded by the log's mu; in and out count ahead of it.
type entry struct {
	rec     witness.Record
	in, out atomic.Int64
	added   bool
}

func newWitnessLog() *witnessLog { return &witnessLog{byNonce: make(map[string][]*entry)} }

func (l *witnessLog) Accepted() int64 { return l.accepted.Load() }

func (l *witnessLog) Find(nonce string) []witness.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var recs []witness.Record
	for _, e := range l.byNonce[nonce] {
		recs = append(recs, e.snapshot())
	}
	return recs
}

func (l *witnessLog) Wait(ctx context.Context, nonce string, finished bool) (witness.Record, error) {
	for {
		l.mu.Lock()
		entries := l.byNonce[nonce]
		for _, e := range slices.Backward(entries) {
			if rec := e.snapshot(); rec.Finished || !finished {
				l.mu.Unlock()
				return rec, nil
			}
		}
		seen := len(entries)
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return witness.Record{}, notYet(nonce, seen, context.Cause(ctx))
		}
	}
}

// notYet is why a wait ended, with what was seen of the nonce by then.
func notYet(nonce string, seen int, err error) error {
	if seen > 0 {
		return fmt.Errorf("wait for the witness: nonce %q has come, its connection is not over: %w", nonce, err)
	}
	return fmt.Errorf("wait for the witness: nonce %q has not come: %w", nonce, err)
}

func (e *entry) snapshot() witness.Record {
	rec := e.rec
	rec.In, rec.Out = e.in.Load(), e.out.Load()
	return rec
}

// update changes a record under the lock, adds it to the log at the first time, and wakes those who wait. The nonce must
// be set by the first update.
func (l *witnessLog) update(e *entry, change func(*witness.Record)) witness.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&e.rec)
	if !e.added {
		e.added = true
		l.order = append(l.order, e)
		l.byNonce[e.rec.Nonce] = append(l.byNonce[e.rec.Nonce], e)
		if len(l.order) > maxRecords {
			l.evict()
		}
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return e.snapshot()
}

// evict forgets the oldest record, which is also the oldest of its nonce.
func (l *witnessLog) evict() {
	nonce := l.order[0].rec.Nonce
	l.order[0] = nil // or the array would keep it
	l.order = l.order[1:]
	if rest := l.byNonce[nonce][1:]; len(rest) > 0 {
		l.byNonce[nonce] = rest
	} else {
		delete(l.byNonce, nonce)
	}
}
