package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
)

// errCut is io.EOF where crypto/tls would pass it on as the end of the session. It does not know this error, and takes it for one.
var errCut = fmt.Errorf("connection closed without close_notify: %w", io.ErrUnexpectedEOF)

const maxRecorded = 32 << 10 // of the handshake messages in the clear; a ServerHello is a few hundred bytes

// Recorder is a connection under tls.Client that notes what the server says in the clear: a fatal alert, a ServerHello, its
// ALPN where TLS 1.2 shows it. It changes nothing on the way and stops looking when the records are encrypted, or at Stop.
type Recorder struct {
	net.Conn

	eof, stopped atomic.Bool

	mu    sync.Mutex // guards what follows
	done  bool
	head  []byte // of the record being read
	left  int    // bytes of the record's body still to come
	kind  byte
	body  []byte // handshake messages in the clear, and an alert
	alert int
	hello bool
	alpn  string
}

// Record puts a Recorder on conn.
func Record(conn net.Conn) *Recorder { return &Recorder{Conn: conn, alert: -1} }

// Read reads from the connection and looks on. An end that comes along with the last bytes, as a tls.Conn below reports it, is
// left to the next call: those bytes may hold the close_notify, and only who still wants more after them has met the end. crypto/tls
// reads no further than to a close_notify, and takes an io.EOF between two records for one: behind Stop the end is therefore an
// io.ErrUnexpectedEOF, which errors.Is finds, and nobody above takes a truncation for an end.
func (r *Recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		if n > 0 {
			err = nil // ends are sticky: the next Read meets it again
		} else {
			r.eof.Store(true)
			if r.stopped.Load() {
				err = errCut
			}
		}
	}
	if n > 0 && !r.stopped.Load() {
		r.mu.Lock()
		if !r.done {
			r.look(p[:n])
		}
		r.mu.Unlock()
	}
	return n, err
}

// SawEOF tells whether a Read met the end of the connection, and so whether the stream was cut off: splice.Join asks.
func (r *Recorder) SawEOF() bool { return r.eof.Load() }

// Stop ends the looking on; reads then cost nothing extra.
func (r *Recorder) Stop() {
	r.stopped.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done, r.head, r.body = true, nil, nil
}

// Unwrap returns the connection below.
func (r *Recorder) Unwrap() net.Conn { return r.Conn }

// Seen returns what was noted so far; Identity is the caller's to fill in.
func (r *Recorder) Seen() Seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Seen{Alert: r.alert, ServerHello: r.hello, ServerALPN: r.alpn}
}

const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	levelFatal             = 2
	handshakeServerHello   = 2
	extensionALPN          = 16
)

// look takes the next bytes of the record stream. mu is held.
func (r *Recorder) look(p []byte) {
	for len(p) > 0 && !r.done {
		if r.left == 0 {
			n := min(5-len(r.head), len(p))
			r.head = append(r.head, p[:n]...)
			p = p[n:]
			if len(r.head) < 5 {
				return
			}
			r.kind, r.left = r.head[0], int(binary.BigEndian.Uint16(r.head[3:]))
			r.head = r.head[:0]
			// Behind a ChangeCipherSpec or the first application data record nothing can be read any more, alerts included.
			if r.kind != recordAlert && r.kind != recordHandshake {
				r.done = true
				return
			}
			if r.kind == recordAlert {
				r.body = r.body[:0]
			}
			continue
		}
		n := min(r.left, len(p))
		r.body = append(r.body, p[:n]...)
		p, r.left = p[n:], r.left-n
		if len(r.body) > maxRecorded {
			r.done = true
			return
		}
		if r.kind == recordAlert {
			if r.left == 0 {
				// Two bytes in the clear; an encrypted one of TLS 1.2 is longer, and follows a ChangeCipherSpec.
				if len(r.body) == 2 && r.body[0] == levelFatal {
					r.alert = int(r.body[1])
				}
				r.body = r.body[:0]
			}
			continue
		}
		if !r.hello {
			r.serverHello()
		}
		if r.hello {
			r.body = r.body[:0]
		}
	}
}

// serverHello looks for a whole ServerHello at the beginning of body.
func (r *Recorder) serverHello() {
	if len(r.body) < 4 {
		return
	}
	size := int(r.body[1])<<16 | int(r.body[2])<<8 | int(r.body[3])
	if r.body[0] != handshakeServerHello || size > maxRecorded {
		r.done = true
		return
	}
	if len(r.body) < 4+size {
		return
	}
	r.hello = true
	r.alpn = helloALPN(r.body[4 : 4+size])
}

// helloALPN finds the name in a ServerHello (RFC 5246 section 7.4.1.3, RFC 7301 section 3.1), or returns "".
func helloALPN(m []byte) string {
	const fixed = 2 + 32 // version, random
	if len(m) < fixed+1 {
		return ""
	}
	m = m[fixed:]
	if len(m) < 1+int(m[0])+3 {
		return ""
	}
	m = m[1+int(m[0])+3:] // session id, cipher suite, compression
	if len(m) < 2 {
		return ""
	}
	for m = m[2:]; len(m) >= 4; {
		kind, size := binary.BigEndian.Uint16(m), int(binary.BigEndian.Uint16(m[2:]))
		if m = m[4:]; len(m) < size {
			return ""
		}
		if kind == extensionALPN && size >= 3 && int(m[2]) == size-3 {
			return string(m[3:size])
		}
		m = m[size:]
	}
	return ""
}

// remoteAlert is the fallback for alerts that came encrypted, behind a ServerHello of TLS 1.3, where the wire tells nothing:
// the error inside crypto/tls's *net.OpError is its unexported "type alert uint8". -1 when the error is not of that shape.
func remoteAlert(err error) int {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return -1
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return int(v.Uint())
	}
	return -1
}
