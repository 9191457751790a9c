package upgrade

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

func init() { register(20, alpnPingType{}) }

// alpnPingType frames the stream so that the server can ping: a uint32 big-endian length and that many bytes. Length 0 is a
// ping; it has no answer and no reader sees it.
type alpnPingType struct{}

func (alpnPingType) Name() string          { return "alpn-ping" }
func (alpnPingType) NeedsConnection() bool { return false }

func (alpnPingType) Answer(*http.Request) (http.Header, *RefusedError) { return nil, nil }

func (t alpnPingType) Offer(ClientOptions) (http.Header, func(http.Header) error) {
	return http.Header{compatField: {t.Name()}}, func(http.Header) error { return nil }
}

func (alpnPingType) Server(conn net.Conn, first []byte, opt ServerOptions) net.Conn {
	c := newPingConn(conn, first, opt.MaxFrame)
	c.out.keepAlive(opt.PingInterval, 0, make([]byte, 4))
	return c
}

func (alpnPingType) Client(conn net.Conn, first []byte, opt ClientOptions) net.Conn {
	return newPingConn(conn, first, opt.MaxFrame)
}

// PingConn puts the server's side of the alpn-ping framing on a connection that needs no upgrade because its ALPN, one that
// ends in "-ping", has said already what comes (RFD 81). It pings every interval until Close, each interval drawn from 0.8 to 1.0 of it;
// 0 sends none.
func PingConn(conn net.Conn, every time.Duration) net.Conn {
	return alpnPingType{}.Server(conn, nil, ServerOptions{PingInterval: every})
}

// A FrameError is an alpn-ping frame longer than agreed to.
type FrameError struct {
	Length uint32 // as announced
	Max    int
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("alpn-ping frame: length %d exceeds %d", e.Length, e.Max)
}

type pingConn struct {
	base
	max int

	rmu    sync.Mutex // guards the reader's state below
	head   [4]byte
	have   int    // bytes of head read
	left   uint32 // bytes of the frame not yet read
	failed error
}

func newPingConn(conn net.Conn, first []byte, max int) *pingConn {
	if max <= 0 {
		max = defaultMaxFrame
	}
	c := &pingConn{max: max}
	c.init(conn, first)
	return c
}

func (c *pingConn) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if c.failed != nil || len(p) == 0 {
		return 0, c.failed
	}
	for c.left == 0 {
		for c.have < len(c.head) {
			n, err := c.in.Read(c.head[c.have:])
			c.have += n
			if err != nil && n == 0 {
				return 0, c.end(err, c.have > 0)
			}
		}
		c.have = 0
		c.left = binary.BigEndian.Uint32(c.head[:])
		if uint64(c.left) > uint64(c.max) {
			c.failed = &FrameError{Length: c.left, Max: c.max}
			return 0, c.failed
		}
	}
	n, err := c.in.Read(p[:min(int64(len(p)), int64(c.left))])
	c.left -= uint32(n)
	if n > 0 {
		return n, nil
	}
	return 0, c.end(err, true)
}

// end turns the end of the stream inside a frame into an unexpected one. Anything else, a deadline above all, leaves the state
// as it is.
func (c *pingConn) end(err error, inside bool) error {
	if errors.Is(err, io.EOF) {
		if inside {
			err = io.ErrUnexpectedEOF
		}
		c.failed = err
	}
	return err
}

func (c *pingConn) Write(p []byte) (int, error) {
	// An empty Write must send nothing: a frame of length 0 is a ping.
	return c.out.write(p, func(dst, chunk []byte) []byte {
		return append(binary.BigEndian.AppendUint32(dst, uint32(len(chunk))), chunk...)
	})
}

// Resumes says that a loop may carry the tunnel (splice.Framer): Read keeps all it knows, and nobody else reads.
func (c *pingConn) Resumes() bool { return true }

// CloseWrite half-closes the connection below.
func (c *pingConn) CloseWrite() error {
	if err := c.out.shut(nil); err != nil {
		return err
	}
	return closeWrite(c.conn)
}

// Close closes the connection below and waits for a ping under way.
func (c *pingConn) Close() error { return c.out.close(nil) }

// base is what the framed tunnels share: addresses, deadlines, the bytes read ahead, and the outbox.
type base struct {
	conn net.Conn
	in   source
	out  outbox
}

func (b *base) init(conn net.Conn, first []byte) {
	b.conn, b.in.conn, b.in.buf, b.in.pulse, b.out.conn = conn, conn, first, &b.out.pulse, conn
}

// Waits is for a loop that carries the tunnel (splice.Framer): there a Read does not last while nothing comes.
func (b *base) Waits(yes bool) { b.out.pulse.reading.Store(yes) }

// Unwrap returns the connection below, for its addresses and its end. Its bytes are frames: it must not be read or written.
func (b *base) Unwrap() net.Conn                   { return b.conn }
func (b *base) LocalAddr() net.Addr                { return b.conn.LocalAddr() }
func (b *base) RemoteAddr() net.Addr               { return b.conn.RemoteAddr() }
func (b *base) SetReadDeadline(t time.Time) error  { return b.out.setReadDeadline(t) }
func (b *base) SetWriteDeadline(t time.Time) error { return b.out.deadline.set(b.conn, t) }
func (b *base) SetDeadline(t time.Time) error {
	return errors.Join(b.SetReadDeadline(t), b.SetWriteDeadline(t))
}

// source reads ahead for frame headers. A payload that is longer than what was read ahead goes straight to the caller.
type source struct {
	conn  net.Conn
	buf   []byte            // read, not yet delivered
	room  *[sourceRoom]byte // of the pool, holds buf; nil when buf is empty or was there from the first
	pulse *pulse
}

const sourceRoom = 4 << 10

// rooms are shared, so that a tunnel of a loop's holds none while it is idle.
var rooms = sync.Pool{New: func() any { return new([sourceRoom]byte) }}

func (s *source) Read(p []byte) (int, error) {
	if len(s.buf) == 0 {
		if len(p) >= sourceRoom {
			return s.receive(p)
		}
		s.room = rooms.Get().(*[sourceRoom]byte)
		n, err := s.receive(s.room[:])
		s.buf = s.room[:n]
		if n == 0 {
			s.release()
			return 0, err
		}
	}
	n := copy(p, s.buf)
	if s.buf = s.buf[n:]; len(s.buf) == 0 {
		s.release()
	}
	return n, nil
}

func (s *source) release() {
	s.buf = nil
	if s.room != nil {
		rooms.Put(s.room)
		s.room = nil
	}
}

func (s *source) receive(p []byte) (int, error) {
	s.pulse.reading.Store(true)
	n, err := s.conn.Read(p)
	s.pulse.reading.Store(false)
	if n > 0 {
		s.pulse.life()
	}
	return n, err
}
