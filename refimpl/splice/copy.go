package splice

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	bufferSize = 32 << 10
	// bulkReads full buffers in a row are bulk; below that splice(2) costs more than it saves (facts/performance.md section 3.5).
	bulkReads = 3
	// spliceMost is the size of a pipe beyond which nothing is gained (same section), and small enough for a slow peer's
	// progress to show.
	spliceMost = 256 << 10
)

var errTruncated = fmt.Errorf("TLS ended without close_notify: %w", io.ErrUnexpectedEOF)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copy moves bytes until src ends or one of the two fails. It tells dst about a clean end.
func (d *direction) copy() event {
	if len(d.src.held) > 0 {
		held := d.src.held
		d.src.held = nil
		if ev, ok := d.write(held); !ok {
			return ev
		}
	}
	from, fromTCP := d.src.rest.(*net.TCPConn)
	to, toTCP := d.dst.rest.(*net.TCPConn)
	var err error
	var ev event
	var ok bool
	switch {
	case fromTCP && toTCP:
		ev, err, ok = d.copyTCP(from, to)
	case fromTCP:
		ev, err, ok = d.copyTCP(from, nil)
	default:
		ev, err, ok = d.copyAny()
	}
	if !ok {
		return ev
	}
	if err != io.EOF { //nolint:errorlint // io.Reader: a clean end is io.EOF itself; one that is wrapped is part of a failure
		return event{from: d, bad: d.src, read: true, err: fmt.Errorf("read from %s: %w", d.src.name, err)}
	}
	if truncated(d.src.conn) {
		return event{from: d, bad: d.src, read: true, err: fmt.Errorf("read from %s: %w", d.src.name, errTruncated)}
	}
	if !d.src.trulyEnded() {
		return event{from: d, bad: d.src, read: true, err: fmt.Errorf("read from %s: %w", d.src.name, syscall.ECONNRESET)}
	}
	d.telling.Store(true)
	if err := CloseWrite(d.dst.conn); errors.Is(err, errNoHalfClose) {
		return event{from: d, full: true}
	} else if err != nil {
		return event{from: d, bad: d.dst, err: fmt.Errorf("half-close %s: %w", d.dst.name, err)}
	}
	return event{from: d}
}

// write writes all of p to dst and counts what went out.
func (d *direction) write(p []byte) (event, bool) {
	d.dst.writing.Lock()
	n, err := d.dst.rest.Write(p)
	d.dst.wrote(err)
	d.dst.writing.Unlock()
	d.add(n)
	if err != nil {
		return event{from: d, bad: d.dst, err: fmt.Errorf("write to %s: %w", d.dst.name, err)}, false
	}
	return event{}, true
}

// wrote notes how a write to the connection went. A reset that comes behind a FIN is EPIPE, any other ECONNRESET
// (net/ipv4/tcp_input.c, tcp_reset). The caller holds e.writing.
func (e *end) wrote(err error) {
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		e.refused = true
	}
}

// trulyEnded tells whether the io.EOF just read stands for a FIN. The kernel reports a reset once: when a write gets the report, the
// read behind it sees a clean end that never was. TLS says for itself how it ended.
func (e *end) trulyEnded() bool {
	if e.tcp == nil || hasTLS(e.conn) || !closed(e.tcp) {
		return true
	}
	// A write in progress may hold the report; on a closed socket it returns at once.
	e.writing.Lock()
	defer e.writing.Unlock()
	return !e.refused
}

// idleSize is what a direction that is no plain TCP waits with. A TLS session cannot say that something is there before it is asked to
// put it somewhere.
const idleSize = 512

// copyAny is for sources of any kind. It returns how reading ended, or false and an event when writing failed.
func (d *direction) copyAny() (event, error, bool) {
	idle := make([]byte, idleSize)
	var big *[bufferSize]byte
	defer func() {
		if big != nil {
			buffers.Put(big)
		}
	}()
	for {
		buf := idle
		if big != nil {
			buf = big[:]
		}
		n, err := d.src.rest.Read(buf)
		if n > 0 {
			if ev, ok := d.write(buf[:n]); !ok {
				return ev, nil, false
			}
		}
		switch {
		case err != nil:
			return event{}, err, true
		case big == nil && n == len(idle):
			big = buffers.Get().(*[bufferSize]byte)
		case big != nil && (d.src.tcp == nil || unread(d.src.tcp) == 0):
			buffers.Put(big)
			big = nil
		}
	}
}

// copyTCP is for a TCP source: a buffer is taken only when bytes are there. Bulk goes to a TCP destination by splice(2).
func (d *direction) copyTCP(from, to *net.TCPConn) (event, error, bool) {
	full := 0
	r, err := newReadyReader(from)
	if err != nil {
		return event{}, err, true
	}
	for {
		if full >= bulkReads && to != nil {
			if n := unread(from); n >= bufferSize {
				ev, ok := d.splice(from, to, min(n, spliceMost))
				if !ok {
					return ev, nil, false
				}
				continue
			}
			full = 0
		}
		buf, n, err := r.read()
		if n > 0 {
			ev, ok := d.write(buf[:n])
			if !ok {
				buffers.Put(buf)
				return ev, nil, false
			}
		}
		if n == bufferSize {
			full++
		} else {
			full = 0
		}
		if buf != nil {
			buffers.Put(buf)
		}
		if err != nil {
			return event{}, err, true
		}
	}
}

// splice moves n bytes that are known to be there. Asking for no more than these is the point: the Go runtime takes a pipe before
// it waits for bytes, so an open-ended ReadFrom pins two descriptors and up to 1 MiB for each idle direction
// (facts/performance.md section 0). A failure is the writer's: bytes in a receive queue survive a reset.
func (d *direction) splice(from, to *net.TCPConn, n int) (event, bool) {
	d.dst.writing.Lock()
	moved, err := to.ReadFrom(&io.LimitedReader{R: from, N: int64(n)})
	d.dst.wrote(err)
	d.dst.writing.Unlock()
	d.add(int(moved))
	d.spliced.Add(moved)
	if err != nil {
		return event{from: d, bad: d.dst, err: fmt.Errorf("write to %s: %w", d.dst.name, err)}, false
	}
	return event{}, true
}
