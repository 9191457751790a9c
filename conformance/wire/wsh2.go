package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

const (
	h2Window = 65535   // RFC 9113 section 6.9.2: of a stream and of the connection, until settings say otherwise
	h2Frame  = 1 << 14 // RFC 9113 section 4.2: what may be sent to who has not asked for more
)

// H2Stream is a tunnel through one stream of an HTTP/2 connection, at either end: bytes in DATA frames, as the windows allow. A goroutine
// of its own reads the connection until that ends; Close ends it and waits.
type H2Stream struct {
	conn    net.Conn
	framer  *http2.Framer
	id      uint32
	ended   chan struct{} // closed when the goroutine is over
	frames  sync.Mutex    // guards writing to framer
	writing sync.Mutex    // one Write at a time

	mu      sync.Mutex // guards what follows
	changed *sync.Cond // any of it has
	buf     []byte     // came and was not read: no more than a window
	stream  int64      // windows to send in
	whole   int64
	initial int64 // of a stream, as the peer's settings have it
	readBy  time.Time
	writeBy time.Time
	over    bool  // the peer has ended its side of the stream
	end     error // of the connection
}

// NewH2Stream is a tunnel through a stream on which both ends have sent their HEADERS. initial is the peer's window for it.
func NewH2Stream(conn net.Conn, framer *http2.Framer, id uint32, initial int64) *H2Stream {
	return newH2Stream(conn, framer, id, initial).start()
}

func newH2Stream(conn net.Conn, framer *http2.Framer, id uint32, initial int64) *H2Stream {
	s := &H2Stream{conn: conn, framer: framer, id: id, ended: make(chan struct{}), stream: initial, whole: h2Window, initial: initial}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// start lets the goroutine read. Deadlines are the stream's own from now on: one that has passed leaves it usable.
func (s *H2Stream) start() *H2Stream {
	_ = s.conn.SetDeadline(time.Time{}) // a connection that is gone says so in the read
	go func() {
		defer close(s.ended)
		for {
			frame, err := s.framer.ReadFrame()
			if err == nil {
				err = s.take(frame)
			}
			if err != nil {
				s.fail(err)
				return
			}
		}
	}()
	return s
}

// take acts on a frame that comes on the connection.
func (s *H2Stream) take(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.DataFrame:
		return s.data(f)
	case *http2.WindowUpdateFrame:
		s.update(func() {
			if f.StreamID == 0 {
				s.whole += int64(f.Increment)
			} else {
				s.stream += int64(f.Increment)
			}
		})
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			s.update(func() { s.stream, s.initial = s.stream+int64(v)-s.initial, int64(v) })
		}
		return s.send(s.framer.WriteSettingsAck)
	case *http2.PingFrame:
		if !f.IsAck() {
			return s.send(func() error { return s.framer.WritePing(true, f.Data) })
		}
	case *http2.RSTStreamFrame:
		return fmt.Errorf("http/2: the stream was reset (%v): %w", f.ErrCode, io.ErrUnexpectedEOF)
	case *http2.GoAwayFrame:
		if f.LastStreamID < s.id {
			return fmt.Errorf("http/2: the connection is closed (%v): %w", f.ErrCode, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

func (s *H2Stream) data(f *http2.DataFrame) error {
	if f.StreamID != s.id {
		return fmt.Errorf("http/2: DATA on stream %d, which nobody has opened", f.StreamID)
	}
	tooMuch := false
	s.update(func() {
		s.buf = append(s.buf, f.Data()...)
		tooMuch = len(s.buf) > h2Window
		s.over = s.over || f.StreamEnded()
	})
	if tooMuch {
		return errors.New("http/2: more DATA than the window allows")
	}
	if padding := f.Length - uint32(len(f.Data())); padding > 0 {
		return s.grant(padding)
	}
	return nil
}

// grant opens our windows again.
func (s *H2Stream) grant(n uint32) error {
	return s.send(func() error {
		return errors.Join(s.framer.WriteWindowUpdate(0, n), s.framer.WriteWindowUpdate(s.id, n))
	})
}

func (s *H2Stream) send(write func() error) error {
	s.frames.Lock()
	defer s.frames.Unlock()
	return write()
}

func (s *H2Stream) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.changed.Broadcast()
}

func (s *H2Stream) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("http/2: the connection ended and the stream had not: %w", io.ErrUnexpectedEOF)
	}
	s.update(func() { s.end = err })
}

func (s *H2Stream) Read(p []byte) (int, error) {
	n, err := s.next(p)
	if n > 0 {
		_ = s.grant(uint32(n)) // of no use to a connection that is gone, which the next Read tells
	}
	return n, err
}

func (s *H2Stream) next(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) == 0 && len(p) > 0 {
		switch {
		case s.over:
			return 0, io.EOF
		case s.end != nil:
			return 0, s.end
		case passed(s.readBy):
			return 0, os.ErrDeadlineExceeded
		}
		s.changed.Wait()
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

func (s *H2Stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	sent := 0
	for len(p) > 0 {
		n, err := s.reserve(len(p))
		if err == nil {
			err = s.send(func() error { return s.framer.WriteData(s.id, false, p[:n]) })
		}
		if err != nil {
			return sent, err
		}
		sent, p = sent+n, p[n:]
	}
	return sent, nil
}

// reserve waits for the windows and takes up to n bytes of them.
func (s *H2Stream) reserve(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for min(s.stream, s.whole) <= 0 {
		switch {
		case s.end != nil: // the peer's end of the stream leaves ours open
			return 0, s.end
		case passed(s.writeBy):
			return 0, fmt.Errorf("http/2: waiting for the window: %w", os.ErrDeadlineExceeded)
		}
		s.changed.Wait()
	}
	take := min(int64(n), s.stream, s.whole, h2Frame)
	s.stream, s.whole = s.stream-take, s.whole-take
	return int(take), nil
}

func passed(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (s *H2Stream) SetDeadline(at time.Time) error {
	return errors.Join(s.SetReadDeadline(at), s.SetWriteDeadline(at))
}

// SetReadDeadline bounds the waits of Read.
func (s *H2Stream) SetReadDeadline(at time.Time) error { return s.by(&s.readBy, at) }

// SetWriteDeadline bounds the waits of Write.
func (s *H2Stream) SetWriteDeadline(at time.Time) error {
	return errors.Join(s.by(&s.writeBy, at), s.conn.SetWriteDeadline(at))
}

func (s *H2Stream) by(deadline *time.Time, at time.Time) error {
	s.update(func() { *deadline = at })
	if !at.IsZero() {
		time.AfterFunc(time.Until(at), func() { s.update(func() {}) }) // whoever waits looks at the clock
	}
	return nil
}

// CloseWrite ends the sending side of the stream.
func (s *H2Stream) CloseWrite() error {
	return s.send(func() error { return s.framer.WriteData(s.id, true, nil) })
}

// Close closes the connection and waits for the goroutine.
func (s *H2Stream) Close() error {
	err := s.conn.Close()
	<-s.ended
	return err
}

// LocalAddr is the connection's.
func (s *H2Stream) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr is the connection's.
func (s *H2Stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Unwrap returns the connection below.
func (s *H2Stream) Unwrap() net.Conn { return s.conn }
