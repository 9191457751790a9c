package splice

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// errWait is what a sock says instead of waiting. It is temporary to crypto/tls, which keeps what it has of a record and goes on with the
// next call (Conn.readRecordOrCCS).
var errWait net.Error = waitError{}

type waitError struct{}

func (waitError) Error() string   { return "nothing to read yet" }
func (waitError) Timeout() bool   { return true }
func (waitError) Temporary() bool { return true }

// sock is what lies under a tls.Conn of the loop's. It never waits: a record that the kernel does not take is kept, and nothing more may
// be written to the session until it is gone. So out is bounded by what one write makes: bufferSize and its records' overhead.
type sock struct {
	fd   int
	held []byte // to be read first
	out  []byte
}

func (s *sock) Read(p []byte) (int, error) {
	if len(s.held) > 0 {
		n := copy(p, s.held)
		if s.held = s.held[n:]; len(s.held) == 0 {
			s.held = nil
		}
		return n, nil
	}
	for {
		n, err := rawRead(s.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, errWait
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s *sock) Write(p []byte) (int, error) {
	if len(s.out) == 0 {
		n, err := s.push(p)
		if err != nil {
			return n, err
		}
		s.out = append(s.out, p[n:]...)
		return len(p), nil
	}
	s.out = append(s.out, p...)
	return len(p), nil
}

// push writes what the kernel takes.
func (s *sock) push(p []byte) (sent int, err error) {
	for sent < len(p) {
		n, err := rawWrite(s.fd, p[sent:])
		sent += max(n, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return sent, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return sent, err
		}
	}
	return sent, nil
}

// flush writes what was kept.
func (s *sock) flush() error {
	n, err := s.push(s.out)
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
	}
	return err
}

// Close does nothing, and deadlines do nothing: the loop has the descriptor, and a sock does not wait.
func (s *sock) Close() error                     { return nil }
func (s *sock) SetDeadline(time.Time) error      { return nil }
func (s *sock) SetReadDeadline(time.Time) error  { return nil }
func (s *sock) SetWriteDeadline(time.Time) error { return nil }
func (s *sock) LocalAddr() net.Addr              { return nil }
func (s *sock) RemoteAddr() net.Addr             { return nil }

// session is a TLS session right over TCP and the layer between the two, nil when conn is something else.
func session(conn net.Conn) (*tls.Conn, *Watched) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	watched, ok := secure.NetConn().(*Watched)
	if !ok || bottom(watched.Conn) == nil {
		return nil, nil
	}
	return secure, watched
}

// over puts the session of h on its descriptor.
func (h *half) over(secure *tls.Conn, watched *Watched) {
	h.tls, h.watched, h.sock = secure, watched, &sock{fd: h.fd}
	_, h.sock.held = peel(watched.Conn)
	watched.Conn = h.sock
	h.readable = true // at the first event of any kind: what crypto/tls has read already is no event
}

// fillTLS reads once from a session and hands on what came. crypto/tls may have more than it gave: only errWait says that it has not.
func (p *poller) fillTLS(x *pair, side int) *failure {
	src := &x.ends[side]
	n, err := src.tls.Read(p.scratch[:])
	if n > 0 {
		if f := p.hand(x, side, p.scratch[:n]); f != nil {
			return f
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, errWait):
		src.readable = false
	case err != io.EOF: //nolint:errorlint // see direction.copy
		return &failure{side: side, read: true, err: err}
	case src.watched.SawEOF():
		return &failure{side: side, read: true, err: errTruncated}
	default:
		src.ended = true
	}
	return nil
}
