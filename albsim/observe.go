package albsim

import (
	"strconv"
	"time"
)

// EventKind is a word for what happened.
type EventKind string

// The kinds of events.
const (
	// EventOpen and EventClose are the beginning and the end of a connection, as far as we hold it.
	EventOpen  EventKind = "open"
	EventClose EventKind = "close"
	// EventBytes is a piece of the wire's bytes that has passed.
	EventBytes EventKind = "bytes"
	// EventAlert is a TLS alert that we send in the clear, as those of a handshake that fails are; Detail is its number.
	EventAlert EventKind = "alert"
	// EventTimer is the idle timeout when it strikes; Detail says so.
	EventTimer EventKind = "timer"
	// EventFault is an injection that struck: the end of a connection, or of a direction of it. Detail is its kind.
	EventFault EventKind = "fault"
)

// Event is something that happened on a connection.
type Event struct {
	Time time.Time
	Kind EventKind
	// Hop is client for a connection in front, target for one behind; Number is its place on the hop, from 1.
	Hop    string
	Number uint64
	// Local is our end, Remote the other.
	Local, Remote string
	// Direction is up or down, of EventBytes and of a half-close, and Bytes how many.
	Direction string
	Bytes     int
	Detail    string
	// Injection is what struck, of EventFault.
	Injection Injection
}

// tell tells the observer, if there is one, of something on the connection.
func (w *wire) tell(e Event) {
	if w.b.observe == nil {
		return
	}
	e.Time, e.Hop, e.Number, e.Local, e.Remote = time.Now(), w.hop, w.number, w.local, w.remote
	w.b.observe(e)
}

// passed tells of bytes.
func (w *wire) passed(l *lane, p []byte) {
	if w.b.observe == nil || len(p) == 0 {
		return
	}
	w.tell(Event{Kind: EventBytes, Direction: l.direction, Bytes: len(p)})
	// crypto/tls writes records whole. An alert in the clear is of type 21, two bytes long, and warning or fatal.
	if l == &w.out && len(p) >= 7 && p[0] == 21 && p[1] == 3 && p[3] == 0 && p[4] == 2 && (p[5] == 1 || p[5] == 2) {
		w.tell(Event{Kind: EventAlert, Detail: strconv.Itoa(int(p[6]))})
	}
}
