package albsim

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// board has the faults of a server, and the connections that they can strike.
type board struct {
	on      atomic.Bool // there is a fault: all that a connection looks at while there is none
	observe func(Event) // may be nil

	mu     sync.Mutex // guards what follows
	faults []*standing
	wires  map[*wire]struct{}
	begun  map[string]uint64    // connections so far, by hop
	dead   map[string]time.Time // targets that refuse connections, and until when
	timers []*time.Timer        // of deaths to come
}

// standing is an injection that has been made.
type standing struct {
	Injection
	since time.Time
}

// from is when it begins for a connection, if not by bytes.
func (f *standing) from(w *wire) time.Time {
	base := w.born
	if f.Clock == clockServer || f.since.After(base) {
		base = f.since
	}
	return base.Add(time.Duration(f.At))
}

// until is when one that began at that time is over.
func (f *standing) until(began time.Time) time.Time {
	switch {
	case f.For == 0:
		return began.Add(forever)
	case f.Clock == clockServer:
		return f.since.Add(time.Duration(f.At + f.For))
	}
	return began.Add(time.Duration(f.For))
}

// spares tells whether connections that begin at that time have nothing of it.
func (f *standing) spares(born time.Time) bool {
	return f.Clock == clockServer && (f.For > 0 || f.Ends()) && !born.Before(f.since.Add(time.Duration(f.At+f.For)))
}

func newBoard(observe func(Event)) *board {
	return &board{observe: observe, wires: map[*wire]struct{}{}, begun: map[string]uint64{}, dead: map[string]time.Time{}}
}

func (b *board) inject(i Injection, now time.Time) {
	f := &standing{i, now}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on.Store(true)
	if i.Kind == "target-death" {
		b.timers = append(b.timers, time.AfterFunc(time.Duration(i.At), func() { b.kill(f) }))
		return
	}
	b.faults = append(b.faults, f)
	for w := range b.wires {
		w.meet(f)
	}
}

// kill is target-death.
func (b *board) kill(f *standing) {
	until := time.Now().Add(time.Duration(f.For))
	if f.For == 0 {
		until = time.Now().Add(forever)
	}
	b.mu.Lock()
	b.dead[f.Target] = until
	var struck []*wire
	for w := range b.wires {
		if w.hop == "target" && w.address == f.Target {
			struck = append(struck, w)
		}
	}
	b.mu.Unlock()
	for _, w := range struck {
		w.strike(f, nil)
	}
}

// refuses tells whether a target is dead.
func (b *board) refuses(address string) error {
	if !b.on.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.dead[address]) {
		return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return nil
}

// close ends what is still to come.
func (b *board) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.timers {
		t.Stop()
	}
}

// wire is one connection as faults see it.
type wire struct {
	b       *board
	conn    net.Conn
	hop     string // client or target
	address string // of a target
	local   string // ends of the socket, for the observer
	remote  string
	number  uint64 // of the hop's connections
	born    time.Time
	in, out lane // what we read, what we write

	secure            bool                     // TLS comes upon it
	tls               atomic.Pointer[tls.Conn] // that TLS, once it is there
	plainIn, plainOut lane                     // of what it carries

	timers []*time.Timer // guarded by board.mu
}

// wire puts a connection on the board; its end is told by gone. secure says that there will be TLS on it.
func (b *board) wire(hop, address string, secure bool, conn net.Conn) *wire {
	w := &wire{b: b, conn: conn, hop: hop, address: address, secure: secure, born: time.Now()}
	if b.observe != nil {
		w.local, w.remote = textOf(conn.LocalAddr()), textOf(conn.RemoteAddr())
	}
	w.in.w, w.out.w, w.plainIn.w, w.plainOut.w = w, w, w, w
	w.plainIn.plain, w.plainOut.plain = true, true
	in, out := "up", "down"
	if hop == "target" {
		in, out = out, in
	}
	w.in.direction, w.out.direction, w.plainIn.direction, w.plainOut.direction = in, out, in, out
	b.mu.Lock()
	b.begun[hop]++
	w.number = b.begun[hop]
	b.wires[w] = struct{}{}
	for _, f := range b.faults {
		if !f.spares(w.born) {
			w.meet(f)
		}
	}
	b.mu.Unlock()
	w.tell(Event{Kind: EventOpen})
	return w
}

// meet has a fault wait for the connection. The board is locked.
func (w *wire) meet(f *standing) {
	if f.Hop != w.hop {
		return
	}
	in, out := w.lanes(f)
	in.add(f)
	out.add(f)
	if f.Ends() && f.AtByte == 0 {
		w.timers = append(w.timers, time.AfterFunc(max(time.Until(f.from(w)), 0), func() { w.strike(f, nil) }))
	}
}

// lanes are those that a fault works on.
func (w *wire) lanes(f *standing) (in, out *lane) {
	if f.Layer == plaintext && w.secure {
		return &w.plainIn, &w.plainOut
	}
	return &w.in, &w.out
}

// finish ends all lanes.
func (w *wire) finish(why error) {
	for _, l := range []*lane{&w.in, &w.out, &w.plainIn, &w.plainOut} {
		l.finish(why)
	}
}

// gone takes the connection off the board, and wakes whoever waits in it.
func (w *wire) gone() {
	w.b.mu.Lock()
	delete(w.b.wires, w)
	for _, t := range w.timers {
		t.Stop()
	}
	w.b.mu.Unlock()
	w.finish(net.ErrClosed)
	w.tell(Event{Kind: EventClose})
}

// strike ends the connection, or a direction of it: that of the lane which has come to the place, those that the fault names
// when the time had come.
func (w *wire) strike(f *standing, at *lane) {
	told := Event{Kind: EventFault, Detail: f.Kind, Injection: f.Injection}
	if f.Kind == "half-close" { // all else ends both
		told.Direction = f.Direction
		if at != nil {
			told.Direction = at.direction
		}
	}
	w.tell(told)
	in, out := w.lanes(f)
	switch f.Kind {
	case "half-close":
		for _, l := range []*lane{in, out} {
			if l == at || at == nil && (f.Direction == "" || f.Direction == l.direction) {
				w.endOf(l)
			}
		}
	case "truncate":
		w.endOf(in)
		w.endOf(out)
	default:
		w.finish(syscall.ECONNRESET)
		reset(w.conn)
	}
}

// endOf ends a direction cleanly. One of what TLS carries, before that is there, is just over.
func (w *wire) endOf(l *lane) {
	conn := l.conn()
	if l == &w.out || l == &w.plainOut {
		l.finish(syscall.EPIPE)
		if conn == nil {
			return
		}
		if err := closeWrite(conn); err != nil && !errors.Is(err, net.ErrClosed) {
			reset(w.conn) // the other end has left already
		}
		return
	}
	l.finish(io.EOF)
	if conn != nil {
		conn.SetReadDeadline(longAgo) // for a Read at work: it will look why
	}
}

func (w *wire) read(p []byte) (int, error) {
	n, err := w.in.pass(p)
	w.passed(&w.in, p[:n])
	return n, err
}

func (w *wire) write(p []byte) (int, error) {
	n, err := w.out.send(p)
	w.passed(&w.out, p[:n])
	return n, err
}

func textOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
