package wire

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Bounds of a trace: payload kept in all, payload kept of one event, events. What is over is counted in Trace.Dropped.
const (
	traceBytes  = 256 << 10
	traceChunk  = 16 << 10
	traceEvents = 20000
	traceTimers = 500 // of these events: a loop of reads has one for each
)

// Event is one thing that happened on one connection.
type Event struct {
	At time.Time
	// Conn names the connection: "tcp#3", and "tcp#3/http#1" what is carried in it.
	Conn string
	// Kind is open, no-open, read, write, close-write, close, reset; witness, of what one recorded; or timer, fault or note, which are
	// of no connection.
	Kind string
	// N is how many bytes were moved; Data are the first of them.
	N    int
	Data []byte
	// Text is a note's text or the error of the call.
	Text string
}

// Trace is everything that was recorded, in the order in which it happened.
type Trace struct {
	Events  []Event
	Dropped int
}

// WriteTimeline writes the trace for a person: milliseconds since the first event, connection, event, the TLS records that it
// completed, bytes as hex dump.
func (t Trace) WriteTimeline(w io.Writer) error {
	var start time.Time
	type way struct{ conn, kind string }
	tls := map[way]*annotator{}
	for i, e := range t.Events {
		if i == 0 {
			start = e.At
		}
		_, err := fmt.Fprintf(w, "%10.3f ms  %-14s %-11s", float64(e.At.Sub(start))/1e6, e.Conn, e.Kind)
		if err == nil && e.N > 0 {
			_, err = fmt.Fprintf(w, " %d bytes", e.N)
		}
		if err == nil && e.Text != "" {
			_, err = fmt.Fprintf(w, " %s", e.Text)
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
		if err == nil && (e.Kind == "read" || e.Kind == "write") {
			a := tls[way{e.Conn, e.Kind}]
			if a == nil {
				a = &annotator{}
				tls[way{e.Conn, e.Kind}] = a
			}
			for _, line := range a.see(e.Data, e.N-len(e.Data)) {
				if err == nil {
					_, err = fmt.Fprintf(w, "%14s= TLS %s\n", "", line)
				}
			}
		}
		if err == nil {
			_, err = io.WriteString(w, dump(e.Data))
		}
		if err != nil {
			return fmt.Errorf("writing the timeline: %w", err)
		}
	}
	if t.Dropped > 0 {
		if _, err := fmt.Fprintf(w, "… and %d more events that the bounds of the trace left out\n", t.Dropped); err != nil {
			return fmt.Errorf("writing the timeline: %w", err)
		}
	}
	return nil
}

func dump(data []byte) string {
	var out strings.Builder
	for off := 0; off < len(data); off += 16 {
		line := data[off:min(off+16, len(data))]
		text := make([]byte, len(line))
		for i, c := range line {
			text[i] = '.'
			if c >= 0x20 && c < 0x7f {
				text[i] = c
			}
		}
		fmt.Fprintf(&out, "%14s%06x  %-47s  %s\n", "", off, fmt.Sprintf("% x", line), text)
	}
	return out.String()
}

// Recorder collects events from any number of connections. A nil *Recorder records nothing.
type Recorder struct {
	mu    sync.Mutex // guards all below
	trace Trace
	bytes int
	timed int
	names map[string]int
}

// Name gives a connection a name of its own: "tcp" becomes tcp#1, tcp#2, ….
func (r *Recorder) Name(kind string) string {
	if r == nil {
		return kind
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil {
		r.names = map[string]int{}
	}
	r.names[kind]++
	return fmt.Sprintf("%s#%d", kind, r.names[kind])
}

// Notef puts a line of text into the timeline.
func (r *Recorder) Notef(format string, args ...any) {
	r.add("", "note", 0, nil, fmt.Sprintf(format, args...))
}

// Timer says that something is waited for, at most that long.
func (r *Recorder) Timer(name string, d time.Duration) {
	r.add("", "timer", 0, nil, fmt.Sprintf("%s %v", name, d.Round(time.Millisecond)))
}

// Faultf says what was made to go wrong.
func (r *Recorder) Faultf(format string, args ...any) {
	r.add("", "fault", 0, nil, fmt.Sprintf(format, args...))
}

// Trace is a copy of what was recorded so far.
func (r *Recorder) Trace() Trace {
	if r == nil {
		return Trace{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return Trace{Events: append([]Event(nil), r.trace.Events...), Dropped: r.trace.Dropped}
}

func (r *Recorder) add(conn, kind string, n int, data []byte, text string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind == "timer" {
		r.timed++
	}
	if len(r.trace.Events) >= traceEvents || kind == "timer" && r.timed > traceTimers {
		r.trace.Dropped++
		return
	}
	keep := min(len(data), traceChunk, traceBytes-r.bytes)
	r.bytes += keep
	r.trace.Events = append(r.trace.Events, Event{time.Now(), conn, kind, n, append([]byte(nil), data[:keep]...), text})
}
