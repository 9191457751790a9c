package albsim

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// EventKind is a word for what happened.
type EventKind string

// The kinds of events.
const (
	// EventOpen is a connection that was accepted in front, or that a target has accepted. EventClose is its end, on our side.
	EventOpen  EventKind = "open"
	EventClose EventKind = "close"
	// EventBytes is what one read or write moved, below TLS.
	EventBytes EventKind = "bytes"
	// EventAlert is a TLS alert record, in either direction. Detail is the alert's number, or "encrypted". Behind the ServerHello of
	// TLS 1.3 an alert is nothing but data to who has no keys, and there is no event of it.
	EventAlert EventKind = "alert"
	// EventTimer is an idle timeout that ran out.
	EventTimer EventKind = "timer"
	// EventFault is an injection that struck: the end of a connection, or of a direction of it. Detail is its kind.
	EventFault EventKind = "fault"
)

// Event is something that happened on a connection.
type Event struct {
	Time time.Time
	Kind EventKind
	// Hop is client for a connection in front, target for one behind. Local is our end of it, Remote the other.
	Hop, Local, Remote string
	// Direction is up for what goes to the target, down for what goes to the client; empty where both are meant.
	Direction string
	Detail    string
	// Bytes is how many EventBytes moved.
	Bytes int
	// Injection is what struck, of EventFault.
	Injection Injection
}

// tell tells the observer, if there is one.
func (b *board) tell(e Event) {
	if b.observe != nil {
		e.Time = time.Now()
		b.observe(e)
	}
}

// tell tells of something that happened on the connection.
func (w *wire) tell(e Event) {
	if w.b.observe == nil {
		return
	}
	e.Hop, e.Local, e.Remote = w.hop, w.local, w.remote
	w.b.tell(e)
}

// moved tells of bytes that passed a lane, and of the alerts in them.
func (w *wire) moved(l *lane, p []byte) {
	if w.b.observe == nil || len(p) == 0 {
		return
	}
	w.tell(Event{Kind: EventBytes, Direction: l.direction, Bytes: len(p)})
	l.records.feed(p, func(detail string) { w.tell(Event{Kind: EventAlert, Direction: l.direction, Detail: detail}) })
}

// idleTimer is what a watchdog over a connection tells when it fires; nil without an observer.
func (s *Server) idleTimer(c net.Conn) func() {
	raw, ok := below[*rawConn](c)
	if !ok || s.board.observe == nil {
		return nil
	}
	return func() { raw.wire.tell(Event{Kind: EventTimer, Detail: "idle timeout"}) }
}

// records follows the TLS records of a direction (RFC 8446 section 5.1) to find the alerts. It gives up at the first byte that
// begins no record: a plaintext connection.
type records struct {
	mu   sync.Mutex // one feed at a time
	off  bool
	head []byte // of the record at hand, and the two bytes of an alert behind it
	rest int    // bytes of it still to come
}

// The types of TLS records, and what stands before their content.
const (
	recordFirst   = 20 // change_cipher_spec
	recordAlert   = 21
	recordLast    = 24 // heartbeat
	recordHead    = 5
	alertLen      = 2 // level and description, in the clear
	maxRecordWire = 16384 + 2048
)

func (r *records) feed(p []byte, alert func(detail string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(p) > 0 && !r.off {
		if len(r.head) < recordHead {
			r.head = append(r.head, p[0])
			p = p[1:]
			if len(r.head) < recordHead {
				continue
			}
			r.rest = int(r.head[3])<<8 | int(r.head[4])
			r.off = r.head[0] < recordFirst || r.head[0] > recordLast || r.head[1] != 3 || r.rest > maxRecordWire
		} else {
			n := min(r.rest, len(p))
			if r.head[0] == recordAlert {
				r.head = append(r.head, p[:min(n, recordHead+alertLen-len(r.head))]...)
			}
			p, r.rest = p[n:], r.rest-n
		}
		if r.rest > 0 || r.off {
			continue
		}
		if r.head[0] == recordAlert {
			detail := "encrypted"
			if length := int(r.head[3])<<8 | int(r.head[4]); length == alertLen {
				detail = strconv.Itoa(int(r.head[recordHead+1]))
			}
			alert(detail)
		}
		r.head = r.head[:0]
	}
}
