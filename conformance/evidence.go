package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// evidence is what a run left: the trace of its connections and, in their places by time, the witnesses' own records of them.
func (a attempted) evidence() Evidence {
	t := a.t
	t.mu.Lock()
	sessions, orders := t.sessions, t.orders
	t.mu.Unlock()
	trace := t.rec.Trace()
	for _, name := range slices.Sorted(maps.Keys(t.Target.Witnesses)) {
		for i := range orders {
			trace.Events = append(trace.Events, recorded(t.Target.Witnesses[name], fmt.Sprintf("%s-%d", t.Nonce, i+1))...)
		}
	}
	slices.SortStableFunc(trace.Events, func(x, y wire.Event) int { return x.At.Compare(y.At) })
	return Evidence{Trace: trace, KeyLog: t.keylog.Bytes(), Sessions: sessions, Began: a.began, Ended: a.ended}
}

// recorded makes events of what a witness has under a nonce, at the time at which it took the connection.
func recorded(w Witness, nonce string) (events []wire.Event) {
	for _, rec := range w.Find(nonce) {
		text, err := json.Marshal(rec)
		if err != nil {
			text = []byte(err.Error()) // a record is made of strings and numbers: it does not come to this
		}
		events = append(events, wire.Event{At: rec.Started, Conn: rec.Witness, Kind: "witness", Text: string(text)})
	}
	return events
}
