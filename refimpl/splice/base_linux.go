package splice

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errWait is what a Base says instead of waiting. It is temporary to crypto/tls, which keeps what it has of a record and goes on with the
// next call (Conn.readRecordOrCCS); so does a [Framer].
var errWait net.Error = waitError{}

type waitError struct{}

func (waitError) Error() string   { return "nothing to read yet" }
func (waitError) Timeout() bool   { return true }
func (waitError) Temporary() bool { return true }

// base is the lowest layer of a stack: a TCP connection, which a loop takes from under the other layers and gives back. In the loop it
// never waits: what the kernel does not take is kept, and flush is for when there is room.
type base struct {
	tcp  atomic.Pointer[net.TCPConn] // nil while the loop has the socket
	wake atomic.Pointer[func()]      // makes the loop read

	reads int // how many the loop allows now

	writing sync.Mutex // held while something is written; guards what follows
	fd      int        // of the loop's; -1 when it is closed
	out     []byte     // kept
	fin     bool       // the end is to be sent behind out
	refused bool       // a write met a reset that no FIN had preceded
}

// Prepare makes of conn one that a Loop can take from under layers that write on their own, as a keep-alive does: they go on what it
// returns. Nothing else may use conn meanwhile. What no Loop takes is returned as it is.
func Prepare(conn net.Conn) net.Conn {
	switch watched := lowestWatched(conn); {
	case watched == nil && bottom(conn) != nil && !grounded(conn):
		return ground(conn)
	case watched != nil && bottom(watched.Conn) != nil && !grounded(watched.Conn):
		watched.Conn = ground(watched.Conn)
	}
	return conn
}

// grounded says whether a base is there already: somebody may be writing to it, and it is the one that the loop has to hold.
func grounded(conn net.Conn) bool {
	for c := conn; c != nil; c = below(c) {
		if _, ok := c.(*base); ok {
			return true
		}
	}
	return false
}

// ground puts a base under the bytes that layers over TCP hold.
func ground(conn net.Conn) net.Conn {
	tcp := bottom(conn)
	_, held := peel(conn)
	b := &base{fd: -1}
	b.tcp.Store(tcp)
	if len(held) > 0 {
		return &ahead{b, held}
	}
	return b
}

// Unwrap returns the TCP connection, and Buffered the bytes held, of which there are none: so a base alone is left out like any holder.
func (b *base) Unwrap() net.Conn {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp
	}
	return nil
}

func (b *base) Buffered() []byte { return nil }

func (b *base) Read(p []byte) (int, error) {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp.Read(p)
	}
	// By the goroutine of the loop, which is also the one to close the descriptor. A layer may read many times for one byte of the tunnel's.
	if b.reads == 0 || b.owes() {
		return 0, errWait
	}
	b.reads--
	for {
		n, err := rawRead(b.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, errWait
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0 && b.wasRefused():
			return 0, syscall.ECONNRESET // the kernel reports it once, and a write has got the report
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (b *base) Write(p []byte) (int, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if tcp := b.tcp.Load(); tcp != nil {
		if err := b.send(tcp); err != nil {
			return 0, err
		}
		return tcp.Write(p)
	}
	if b.fd < 0 {
		return 0, net.ErrClosed
	}
	n := 0
	if len(b.out) == 0 {
		var err error
		if n, err = b.push(p); err != nil {
			return n, err
		}
	}
	b.out = append(b.out, p[n:]...)
	return len(p), nil
}

// push writes what the kernel takes; writing is held.
func (b *base) push(p []byte) (sent int, err error) {
	for sent < len(p) {
		n, err := rawWrite(b.fd, p[sent:])
		sent += max(n, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return sent, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			b.refused = b.refused || !errors.Is(err, syscall.EPIPE)
			return sent, err
		}
	}
	return sent, nil
}

// flush writes what was kept.
func (b *base) flush() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	n, err := b.push(b.out)
	if b.out = b.out[n:]; len(b.out) > 0 {
		return err
	}
	b.out = nil
	if err == nil && b.fin {
		b.fin = false
		err = rawShutdown(b.fd)
	}
	return err
}

// keeps tells whether something waits for room in the kernel.
func (b *base) keeps() bool {
	b.writing.Lock()
	defer b.writing.Unlock()
	return len(b.out) > 0 || b.fin
}

// owes tells whether so much does that nothing may be read that asks for more, as a ping does.
func (b *base) owes() bool {
	b.writing.Lock()
	defer b.writing.Unlock()
	return len(b.out) > 2*bufferSize
}

func (b *base) wasRefused() bool {
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.refused
}

// send writes what was kept when the loop gave the socket back; writing is held.
func (b *base) send(tcp *net.TCPConn) error {
	if len(b.out) > 0 {
		n, err := tcp.Write(b.out)
		if b.out = b.out[n:]; len(b.out) > 0 {
			return err
		}
		b.out = nil
	}
	if b.fin {
		b.fin = false
		return tcp.CloseWrite()
	}
	return nil
}

// sendKept does so as long as the peer takes some.
func (b *base) sendKept(ctx context.Context) {
	b.writing.Lock()
	defer b.writing.Unlock()
	tcp := b.tcp.Load()
	if tcp == nil {
		return
	}
	defer tcp.SetWriteDeadline(time.Time{})
	for until := time.Now().Add(drainMost); ctx.Err() == nil && time.Now().Before(until); {
		tcp.SetWriteDeadline(time.Now().Add(drainStall))
		before := len(b.out)
		if err := b.send(tcp); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || len(b.out) == before {
			return
		}
	}
}

// lend gives the socket to the loop; writing is held.
func (b *base) lend(fd int) {
	b.fd = fd
	b.tcp.Store(nil)
}

// regain takes it back; nil is a socket that is gone.
func (b *base) regain(tcp *net.TCPConn) {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.fd = -1
	b.tcp.Store(tcp)
}

// CloseWrite ends the sending side behind what is kept.
func (b *base) CloseWrite() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	tcp := b.tcp.Load()
	switch {
	case tcp != nil:
		if err := b.send(tcp); err != nil {
			return err
		}
		return tcp.CloseWrite()
	case b.fd < 0:
		return net.ErrClosed
	case len(b.out) > 0:
		b.fin = true
		return nil
	}
	return os.NewSyscallError("shutdown", rawShutdown(b.fd))
}

// Close does nothing in the loop, which has the descriptor.
func (b *base) Close() error {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp.Close()
	}
	return nil
}

// SetReadDeadline has no effect in the loop, where nothing waits, but for a time that has passed: a layer means its reader to look up.
func (b *base) SetReadDeadline(t time.Time) error {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp.SetReadDeadline(t)
	}
	if wake := b.wake.Load(); wake != nil && !t.IsZero() && !t.After(time.Now()) {
		(*wake)()
	}
	return nil
}

// SetWriteDeadline has no effect in the loop, where no write waits.
func (b *base) SetWriteDeadline(t time.Time) error {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp.SetWriteDeadline(t)
	}
	return nil
}

func (b *base) SetDeadline(t time.Time) error {
	return errors.Join(b.SetReadDeadline(t), b.SetWriteDeadline(t))
}

// The addresses are nil in the loop.

func (b *base) LocalAddr() net.Addr {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp.LocalAddr()
	}
	return nil
}

func (b *base) RemoteAddr() net.Addr {
	if tcp := b.tcp.Load(); tcp != nil {
		return tcp.RemoteAddr()
	}
	return nil
}
