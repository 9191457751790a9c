package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
)

// Pinged is a tunnel that counts the pings it was sent.
type Pinged interface{ Pings() int64 }

// WSConn is the client's end of a tunnel in binary WebSocket messages: every Write is one masked frame. Pings are answered
// while somebody reads. Read errors that are timeouts leave it usable: nothing is consumed before it is whole.
type WSConn struct {
	net.Conn
	br    *bufio.Reader
	pings atomic.Int64

	left int64 // of the data frame being read
	end  error // what every further Read says

	mu     sync.Mutex // guards writing
	closed bool       // a close frame has been sent

	wg      sync.WaitGroup // the goroutine that sends pongs
	pongMu  sync.Mutex     // guards what follows
	due     []byte         // the payload of the ping to answer next
	ponging bool           // the goroutine is at work
}

func newWSConn(c net.Conn) *WSConn { return &WSConn{Conn: c, br: bufio.NewReader(c)} }

// Pings counts the pings that came.
func (w *WSConn) Pings() int64 { return w.pings.Load() }

// Unwrap returns the connection below.
func (w *WSConn) Unwrap() net.Conn { return w.Conn }

func (w *WSConn) Read(p []byte) (int, error) {
	for w.left == 0 {
		if w.end != nil {
			return 0, w.end
		}
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n, err := w.br.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads frames until data is there. Peek before taking, so that a deadline can interrupt anywhere.
func (w *WSConn) next() error {
	two, err := w.br.Peek(2)
	if err != nil {
		return short(err, len(two))
	}
	size := 2
	switch two[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if two[1]&0x80 != 0 {
		return fmt.Errorf("websocket: masked frame from a server: % x", two)
	}
	if head, err := w.br.Peek(size); err != nil {
		return short(err, len(head))
	}
	if two[0]&0x8 != 0 { // control: whole frame first
		size += int(two[1] & 0x7f)
		if frame, err := w.br.Peek(size); err != nil {
			return short(err, len(frame))
		}
	}
	head, err := ws.ReadHeader(w.br)
	if err != nil {
		return fmt.Errorf("websocket: reading a frame header: %w", err)
	}
	switch head.OpCode {
	case ws.OpBinary, ws.OpContinuation:
		w.left = head.Length
		return nil
	case ws.OpPing, ws.OpPong, ws.OpClose:
		payload := make([]byte, head.Length)
		if _, err := io.ReadFull(w.br, payload); err != nil {
			return fmt.Errorf("websocket: reading a control frame: %w", err)
		}
		return w.control(head.OpCode, payload)
	default:
		return fmt.Errorf("websocket: frame with opcode %#x in a binary tunnel", byte(head.OpCode))
	}
}

// control takes a control frame; a pong needs nothing.
func (w *WSConn) control(op ws.OpCode, payload []byte) error {
	if op == ws.OpPing {
		w.pings.Add(1)
		w.pong(payload)
		return nil
	}
	if op != ws.OpClose {
		return nil
	}
	code, _ := ws.ParseCloseFrameData(payload)
	w.end = io.EOF
	if code != ws.StatusNormalClosure && code != ws.StatusGoingAway && code != ws.StatusNoStatusRcvd && code != 0 {
		w.end = &CloseError{Code: int(code)}
	}
	w.mu.Lock()
	answered := w.closed
	w.closed = true
	w.mu.Unlock()
	if !answered {
		_ = w.write(ws.NewCloseFrame(payload)) // the peer may be gone already: then there is nobody to answer
	}
	return nil
}

// pong answers a ping, from a goroutine of its own: where the peer has stopped reading, which a check may want it to, the answer
// cannot go out, and reading must go on all the same. Then only the latest ping is answered (RFC 6455 section 5.5.3).
func (w *WSConn) pong(payload []byte) {
	w.pongMu.Lock()
	defer w.pongMu.Unlock()
	w.due = payload
	if w.ponging {
		return
	}
	w.ponging = true
	w.wg.Go(func() {
		for p := w.nextPong(); p != nil; p = w.nextPong() {
			if w.write(ws.NewPongFrame(p)) != nil {
				return // no more pongs: what is wrong shows in Read or Write
			}
		}
	})
}

func (w *WSConn) nextPong() []byte {
	w.pongMu.Lock()
	defer w.pongMu.Unlock()
	p := w.due
	w.due, w.ponging = nil, p != nil
	return p
}

// Close closes the connection below and waits for a pong that is under way.
func (w *WSConn) Close() error {
	err := w.Conn.Close()
	w.wg.Wait()
	return err
}

// CloseError is a close frame with a code that is not a normal end.
type CloseError struct{ Code int }

func (e *CloseError) Error() string { return fmt.Sprintf("websocket: closed with %d", e.Code) }

func short(err error, have int) error {
	if errors.Is(err, io.EOF) && have > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (w *WSConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.Conn.Write(wsFrame(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *WSConn) write(f ws.Frame) error {
	raw, err := ws.CompileFrame(ws.MaskFrame(f))
	if err != nil {
		return fmt.Errorf("websocket: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err = w.Conn.Write(raw)
	return err
}

// CloseWrite sends a close frame 1000; reading goes on until the peer's.
func (w *WSConn) CloseWrite() error {
	w.mu.Lock()
	sent := w.closed
	w.closed = true
	w.mu.Unlock()
	if sent {
		return nil
	}
	return w.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
}

func wsFrame(p []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(p)))
}

// PingConn is the client's end of an alpn-ping tunnel: frames behind a four-byte length, a length of zero being a ping.
type PingConn struct {
	net.Conn
	br    *bufio.Reader
	pings atomic.Int64
	left  uint32
	mu    sync.Mutex // guards writing
}

func newPingConn(c net.Conn) *PingConn { return &PingConn{Conn: c, br: bufio.NewReader(c)} }

// Pings counts the pings that came.
func (c *PingConn) Pings() int64 { return c.pings.Load() }

// Unwrap returns the connection below.
func (c *PingConn) Unwrap() net.Conn { return c.Conn }

// CloseWrite passes through: the framing has no end of its own.
func (c *PingConn) CloseWrite() error { return CloseWrite(c.Conn) }

func (c *PingConn) Read(p []byte) (int, error) {
	for c.left == 0 {
		head, err := c.br.Peek(4)
		if err != nil {
			return 0, short(err, len(head))
		}
		c.left = binary.BigEndian.Uint32(head)
		if _, err := c.br.Discard(4); err != nil {
			return 0, fmt.Errorf("alpn-ping: %w", err)
		}
		if c.left == 0 {
			c.pings.Add(1)
		}
	}
	n, err := c.br.Read(p[:min(len(p), int(c.left))])
	c.left -= uint32(n)
	if errors.Is(err, io.EOF) && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *PingConn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.Conn.Write(Vec(4, p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
