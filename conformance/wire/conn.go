package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// Conn is a connection whose every call is recorded.
type Conn struct {
	net.Conn
	recorder *Recorder
	name     string
	closed   atomic.Bool
}

// Dial opens a traced TCP connection; ctx bounds the dialling only.
func Dial(ctx context.Context, address string, rec *Recorder) (*Conn, error) {
	name := rec.Name("tcp")
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		rec.add(name, "no-open", 0, nil, err.Error())
		return nil, fmt.Errorf("connecting: %w", err)
	}
	rec.add(name, "open", 0, nil, fmt.Sprintf("%s -> %s", c.LocalAddr(), c.RemoteAddr()))
	return &Conn{Conn: c, recorder: rec, name: name}, nil
}

// NewConn traces a connection that is open already. Kind is part of its name; so is, with a slash, the name of a traced connection
// below it, such as that of the TCP connection below the plaintext side of a TLS session.
func NewConn(c net.Conn, rec *Recorder, kind string) *Conn {
	if below := traced(c); below != nil {
		kind = below.name + "/" + kind
	}
	name := rec.Name(kind)
	rec.add(name, "open", 0, nil, "")
	return &Conn{Conn: c, recorder: rec, name: name}
}

// traced finds the traced connection that c is, or stands on.
func traced(c net.Conn) *Conn {
	for c != nil {
		if t, ok := c.(*Conn); ok {
			return t
		}
		c = below(c)
	}
	return nil
}

// below is the connection that c stands on, nil at the bottom.
func below(c net.Conn) net.Conn {
	switch u := c.(type) {
	case interface{ Unwrap() net.Conn }:
		return u.Unwrap()
	case interface{ NetConn() net.Conn }: // tls.Conn
		return u.NetConn()
	}
	return nil
}

// Unwrap returns the connection below.
func (c *Conn) Unwrap() net.Conn { return c.Conn }

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.recorder.add(c.name, "read", n, p[:n], text(err))
	return n, err
}

func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.recorder.add(c.name, "write", n, p[:n], text(err))
	return n, err
}

// Close closes and records it once; closing again is harmless.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.recorder.add(c.name, "close", 0, nil, "")
	return c.Conn.Close()
}

// CloseWrite ends the sending direction: FIN on TCP, close_notify on TLS.
func (c *Conn) CloseWrite() error {
	err := CloseWrite(c.Conn)
	c.recorder.add(c.name, "close-write", 0, nil, text(err))
	return err
}

// Reset ends the TCP connection below with a RST.
func (c *Conn) Reset() error {
	c.recorder.Faultf("%s is reset by the check", c.name)
	c.recorder.add(c.name, "reset", 0, nil, "")
	c.closed.Store(true)
	return Reset(c.Conn)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// ErrNoHalfClose says that a connection has no way to end one direction.
var ErrNoHalfClose = errors.New("connection cannot be half-closed")

// CloseWrite ends the sending direction of whatever connection knows how to.
func CloseWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return ErrNoHalfClose
}

// Reset closes the TCP connection at the bottom of c with a RST.
func Reset(c net.Conn) error {
	tcp, ok := TCP(c)
	if !ok {
		return errors.Join(errors.New("resetting: no TCP connection below"), c.Close())
	}
	if err := tcp.SetLinger(0); err != nil {
		return fmt.Errorf("resetting: %w", err)
	}
	return tcp.Close()
}

// TCP is the TCP connection at the bottom of c.
func TCP(c net.Conn) (*net.TCPConn, bool) {
	for bottom := c; ; {
		if tcp, ok := bottom.(*net.TCPConn); ok {
			return tcp, true
		}
		if bottom = below(bottom); bottom == nil {
			return nil, false
		}
	}
}

// WithPrefix is c with bytes that were read already put in front. CloseWrite, Unwrap and deadlines pass through.
func WithPrefix(c net.Conn, prefix []byte) net.Conn {
	if len(prefix) == 0 {
		return c
	}
	return &prefixed{Conn: c, prefix: prefix}
}

type prefixed struct {
	net.Conn
	prefix []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}
func (p *prefixed) CloseWrite() error { return CloseWrite(p.Conn) }
func (p *prefixed) Unwrap() net.Conn  { return p.Conn }

// SplitConn hands the first ClientHello that is written through it to a plan, and sends the chunks that come back one by
// one; everything after it passes as it is. So a real TLS client can be made to speak in any segments and records. Writes
// must come from one goroutine at a time, as they do from crypto/tls.
type SplitConn struct {
	net.Conn
	plan  func(raw []byte) [][]byte
	pause time.Duration
	held  []byte
	sent  []byte
	span  time.Duration
	took  time.Duration
	done  bool
}

// NewSplitConn returns a SplitConn. Chunk n is sent n pauses after the first, so that each has left, and normally been read,
// before the next: it is part of what is sent, not a way to wait for anything.
func NewSplitConn(c net.Conn, pause time.Duration, plan func(raw []byte) [][]byte) *SplitConn {
	return &SplitConn{Conn: c, plan: plan, pause: pause}
}

func (s *SplitConn) Write(p []byte) (int, error) {
	if s.done {
		return s.Conn.Write(p)
	}
	s.held = append(s.held, p...)
	hello, n, err := ParseHello(s.held)
	if errors.Is(err, ErrNeedMore) {
		return len(p), nil
	}
	s.done = true
	chunks := [][]byte{s.held}
	if err == nil {
		chunks = append(s.plan(hello.Raw), s.held[n:])
		if t := traced(s.Conn); t != nil {
			t.recorder.Faultf("the ClientHello of %d bytes goes over %s in %d pieces, %v apart", n, t.name, len(chunks)-1, s.pause)
		}
	}
	if s.span > 0 {
		s.pause = min(s.pause, s.span/time.Duration(len(chunks)))
	}
	start := time.Now()
	for i, chunk := range chunks {
		if len(chunk) == 0 {
			continue
		}
		time.Sleep(time.Until(start.Add(time.Duration(i) * s.pause))) // by the clock: lateness does not add up
		if _, err := s.Conn.Write(chunk); err != nil {
			return 0, err
		}
		s.sent = append(s.sent, chunk...)
		s.took = time.Since(start)
	}
	return len(p), nil
}

// Sent is what went out in place of the ClientHello that was written, record headers included; nil before.
func (s *SplitConn) Sent() []byte { return s.sent }

// Within shortens the pauses so that all chunks are sent within d, for as long as the machine keeps up.
func (s *SplitConn) Within(d time.Duration) { s.span = d }

// Took is how long it took to send them.
func (s *SplitConn) Took() time.Duration { return s.took }

// CloseWrite passes through.
func (s *SplitConn) CloseWrite() error { return CloseWrite(s.Conn) }

// Unwrap returns the connection below.
func (s *SplitConn) Unwrap() net.Conn { return s.Conn }

// Cut is a plan: the hello in two segments, divided behind the first n bytes.
func Cut(n int) func([]byte) [][]byte {
	return func(raw []byte) [][]byte {
		at := min(n, len(raw))
		return [][]byte{raw[:at], raw[at:]}
	}
}

// Drip is a plan: size bytes a segment.
func Drip(size int) func([]byte) [][]byte {
	return func(raw []byte) [][]byte {
		var out [][]byte
		for len(raw) > 0 {
			n := min(size, len(raw))
			out = append(out, raw[:n])
			raw = raw[n:]
		}
		return out
	}
}

// Fragment is a plan: the handshake message in records with fragments of these sizes (see Records), sent one record a segment
// or all at once.
func Fragment(together bool, sizes ...int) func([]byte) [][]byte {
	return func(raw []byte) [][]byte {
		hello, _, err := ParseHello(raw)
		if err != nil {
			return [][]byte{raw}
		}
		records := Records(hello.Message, sizes...)
		if !together {
			return records
		}
		var all []byte
		for _, r := range records {
			all = append(all, r...)
		}
		return [][]byte{all}
	}
}

// Version is a plan: the same records with another version in their headers.
func Version(version uint16) func([]byte) [][]byte {
	return func(raw []byte) [][]byte {
		out := append([]byte(nil), raw...)
		for pos := 0; pos+5 <= len(out); {
			out[pos+1], out[pos+2] = byte(version>>8), byte(version)
			pos += 5 + (int(out[pos+3])<<8 | int(out[pos+4]))
		}
		return [][]byte{out}
	}
}
