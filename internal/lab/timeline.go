package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

// Bounds of a timeline, in events. Bytes are by far the most, and must not take the room of what is rare.
const (
	maxMoves  = 50_000
	maxOthers = 50_000
)

// burst is how soon behind the last bytes of a connection more in the same direction are told of in one event with them.
const burst = 10 * time.Millisecond

// kindInject is the event of a fault that was put in: what it does to a connection may be no event of its own, as latency is none.
const kindInject albsim.EventKind = "inject"

// happening is an event of the timeline.
type happening struct {
	AtNS int64            `json:"at_ns"` // from the beginning of the recording
	Path string           `json:"path"`
	Hop  string           `json:"hop"`
	Kind albsim.EventKind `json:"kind"`
	// Local is the simulator's end of the connection, Remote the other.
	Local     string `json:"local,omitempty"`
	Remote    string `json:"remote,omitempty"`
	Direction string `json:"direction,omitempty"`
	// Bytes is how many moved, in so many Pieces, until LastNS.
	Bytes  int64  `json:"bytes,omitempty"`
	Pieces int    `json:"pieces,omitempty"`
	LastNS int64  `json:"last_ns,omitempty"`
	Detail string `json:"detail,omitempty"`

	at, last time.Time
}

// timeline is what the simulators told, within bounds. The zero value is ready.
type timeline struct {
	mu      sync.Mutex // guards all below
	began   time.Time
	list    []happening
	latest  map[[3]string]int // the last event of a connection: hop's word, local, remote
	moves   int
	leftOut int
}

// start is where the times count from; nothing is kept before it.
func (t *timeline) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began, t.latest = time.Now(), map[[3]string]int{}
}

func (t *timeline) add(w way, e albsim.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		return
	}
	key := [3]string{e.Hop, e.Local, e.Remote}
	moved := e.Kind == albsim.EventBytes
	if i, ok := t.latest[key]; ok && moved {
		if h := &t.list[i]; h.Kind == e.Kind && h.Direction == e.Direction && e.Time.Sub(h.last) < burst {
			h.Bytes += int64(e.Bytes)
			h.Pieces++
			h.last = e.Time
			return
		}
	}
	if moved && t.moves == maxMoves || !moved && len(t.list)-t.moves == maxOthers {
		t.leftOut++
		delete(t.latest, key)
		return
	}
	h := happening{
		Path: w.path, Hop: w.hop, Kind: e.Kind, Local: e.Local, Remote: e.Remote, Direction: e.Direction, Detail: e.Detail, at: e.Time, last: e.Time,
	}
	if moved {
		t.moves++
		h.Bytes, h.Pieces = int64(e.Bytes), 1
	}
	t.latest[key] = len(t.list)
	if e.Kind == albsim.EventClose || e.Kind == kindInject {
		delete(t.latest, key)
	}
	t.list = append(t.list, h)
}

// write writes the timeline in the order of time, and ends it. left_out counts the events beyond what is kept.
func (t *timeline) write(file string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.list {
		h := &t.list[i]
		h.AtNS = int64(h.at.Sub(t.began))
		if h.Pieces > 1 {
			h.LastNS = int64(h.last.Sub(t.began))
		}
	}
	slices.SortStableFunc(t.list, func(a, b happening) int { return a.at.Compare(b.at) })
	// One event a line, for those who search with grep.
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	fmt.Fprintf(&b, "{\"schema\":\"tlsroute-bench/timeline/1\",\"began\":%q,\"left_out\":%d,\"events\":[\n", t.began.UTC().Format(time.RFC3339Nano), t.leftOut)
	for i, h := range t.list {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := lines.Encode(h); err != nil {
			return fmt.Errorf("timeline: %w", err)
		}
	}
	b.WriteString("]}\n")
	t.began, t.list, t.latest = time.Time{}, nil, nil
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("timeline: %w", err)
	}
	return nil
}
