package albsim

import "time"

// EventKind is a word for what happened.
type EventKind string

// The kinds of events.
const (
	// EventFault is an injection that struck: the end of a connection, or of a direction of it. Detail is its kind.
	EventFault EventKind = "fault"
)

// Event is something that happened on a connection.
type Event struct {
	Time time.Time
	Kind EventKind
	// Hop is client for a connection in front, target for one behind. Remote is its other end.
	Hop, Remote string
	Detail      string
}

// tell tells the observer, if there is one.
func (b *board) tell(e Event) {
	if b.observe != nil {
		e.Time = time.Now()
		b.observe(e)
	}
}
