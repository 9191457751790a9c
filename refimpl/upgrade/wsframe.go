package upgrade

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	opContinuation = ws.OpContinuation
	opText         = ws.OpText
	opBinary       = ws.OpBinary
	opClose        = ws.OpClose
	opPing         = ws.OpPing
	opPong         = ws.OpPong
)

// closeEcho is how long the answer to a Close frame waits while nothing is written: RFC 6455 section 5.5.1 lets an endpoint
// finish what it is sending, which is as near to a half-close as a WebSocket comes.
const closeEcho = time.Second

// A CloseError is a Close frame with a code other than 1000, received from the peer.
type CloseError struct {
	Code   uint16
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("websocket closed by peer: %d %q", e.Code, e.Reason)
}

// A ProtocolError is a frame that was refused; Code is what the peer was told in a Close frame.
type ProtocolError struct {
	Code   uint16
	Reason string
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("websocket: %s (%d)", e.Reason, e.Code) }

// wsConn is either end of a WebSocket. Pings are answered by whoever reads, its owner or, on a client, attend; the answer never
// holds the reader up. Everything the reader knows is kept between calls, so that a Read cut off by its deadline, even
// inside a header, loses nothing.
type wsConn struct {
	base
	client bool // we mask, the peer must not
	max    int64

	rmu     sync.Mutex // guards what follows
	head    [ws.MaxHeaderSize]byte
	have    int // bytes of head read
	need    int // bytes of head to read; 0 between headers means 2
	inFrame bool
	op      ws.OpCode
	fin     bool
	masked  bool
	mask    [4]byte
	pos     int   // offset in the payload, for the mask
	left    int64 // bytes of the payload not yet read
	ctl     []byte
	message bool // a fragmented message is open
	failed  error

	cmu      sync.Mutex // guards peerCode
	peerCode []byte     // payload of the peer's Close, to be echoed
}

func newWSConn(conn net.Conn, first []byte, max int, client bool) *wsConn {
	if max <= 0 {
		max = defaultMaxFrame
	}
	c := &wsConn{max: int64(max), client: client}
	c.init(conn, first)
	return c
}

func (c *wsConn) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if len(p) == 0 {
		return 0, c.failed
	}
	if err := c.advance(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	if n == 0 {
		return 0, c.ended(err, true)
	}
	c.unmask(p[:n])
	if c.left -= int64(n); c.left == 0 {
		c.inFrame = false
	}
	return n, nil
}

// advance acts on frames up to the next byte of data, which it leaves where it is.
func (c *wsConn) advance() error {
	for c.failed == nil {
		if !c.inFrame {
			if err := c.header(); err != nil {
				return err
			}
		}
		switch {
		case c.op.IsControl():
			if err := c.control(); err != nil {
				return err
			}
		case c.left > 0:
			return nil
		default: // an empty frame
			c.inFrame = false
		}
	}
	return c.failed
}

// header reads what is missing of a frame's header and judges it.
func (c *wsConn) header() error {
	if c.need == 0 {
		c.need = 2
	}
	for c.have < c.need {
		n, err := c.in.Read(c.head[c.have:c.need])
		c.have += n
		if n == 0 && err != nil {
			return c.ended(err, c.have > 0 || c.message)
		}
		if c.have == 2 && c.need == 2 {
			// Judged before the rest is waited for: a header that can only be refused need not be complete.
			if err := c.judge(); err != nil {
				return err
			}
		}
	}
	length := int64(c.head[1] & 0x7f)
	rest := c.head[2:c.need]
	switch length {
	case 126:
		length, rest = int64(binary.BigEndian.Uint16(rest)), rest[2:]
		if length < 126 {
			return c.refuse(ws.StatusProtocolError, "length not in its shortest form")
		}
	case 127:
		long := binary.BigEndian.Uint64(rest)
		if long>>63 != 0 || long <= 0xffff {
			return c.refuse(ws.StatusProtocolError, "length not in its shortest form")
		}
		length, rest = int64(long), rest[8:]
	}
	if length > c.max {
		return c.refuse(ws.StatusMessageTooBig, fmt.Sprintf("frame of %d bytes exceeds %d", length, c.max))
	}
	if c.masked {
		copy(c.mask[:], rest)
	}
	c.have, c.need, c.pos, c.left, c.inFrame = 0, 0, 0, length, true
	c.ctl = c.ctl[:0]
	return nil
}

// judge looks at a header's first two bytes and sets how long the header is.
func (c *wsConn) judge() error {
	b0, b1 := c.head[0], c.head[1]
	c.fin, c.op, c.masked = b0&0x80 != 0, ws.OpCode(b0&0x0f), b1&0x80 != 0
	length := b1 & 0x7f
	switch {
	case b0&0x70 != 0:
		return c.refuse(ws.StatusProtocolError, "reserved bit set, no extension was agreed")
	case c.masked == c.client && c.client:
		return c.refuse(ws.StatusProtocolError, "masked frame from a server")
	case c.masked == c.client:
		return c.refuse(ws.StatusProtocolError, "unmasked frame from a client")
	}
	switch c.op {
	case opContinuation:
		if !c.message {
			return c.refuse(ws.StatusProtocolError, "continuation of nothing")
		}
		c.message = !c.fin
	case opText:
		return c.refuse(ws.StatusUnsupportedData, "text frame")
	case opBinary:
		if c.message {
			return c.refuse(ws.StatusProtocolError, "new message inside a fragmented one")
		}
		c.message = !c.fin
	case opClose, opPing, opPong:
		if !c.fin || length > 125 {
			return c.refuse(ws.StatusProtocolError, "control frame fragmented or longer than 125 bytes")
		}
	default:
		return c.refuse(ws.StatusProtocolError, "reserved opcode")
	}
	switch length {
	case 126:
		c.need += 2
	case 127:
		c.need += 8
	}
	if c.masked {
		c.need += 4
	}
	return nil
}

// ended makes the end of the stream final, and unexpected inside a frame or message. Between messages it is io.EOF: clients in
// use close without a Close frame, and what was cut off is told by the TLS session inside. Other errors, deadlines above all,
// change nothing.
func (c *wsConn) ended(err error, inside bool) error {
	if c.out.dead.Load() {
		c.failed = ErrNoPong
		return c.failed
	}
	if errors.Is(err, io.EOF) {
		if inside {
			err = io.ErrUnexpectedEOF
		}
		c.failed = err
	}
	return err
}

func (c *wsConn) unmask(p []byte) {
	if c.masked {
		ws.Cipher(p, c.mask, c.pos)
		c.pos = (c.pos + len(p)) & 3
	}
}

// frame appends one whole frame.
func (c *wsConn) frame(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op), 0)
	second := len(dst) - 1
	switch n := len(payload); {
	case n < 126:
		dst[second] = byte(n)
	case n <= 0xffff:
		dst[second] = 126
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst[second] = 127
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	if !c.client {
		return append(dst, payload...)
	}
	var mask [4]byte
	rand.Read(mask[:]) // RFC 6455 section 5.3: unpredictable, a new one for each frame
	dst[second] |= 0x80
	dst = append(dst, mask[:]...)
	body := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[body:], mask, 0)
	return dst
}

func (c *wsConn) Write(p []byte) (int, error) {
	return c.out.write(p, func(dst, chunk []byte) []byte { return c.frame(dst, opBinary, chunk) })
}

// closeFrame is the Close frame we owe: the echo of the peer's, or 1000.
func (c *wsConn) closeFrame() []byte {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	if c.peerCode != nil {
		return c.frame(nil, opClose, c.peerCode)
	}
	return c.frame(nil, opClose, []byte{0x03, 0xe8})
}

// Resumes says that a loop may carry the tunnel (splice.Framer): Read keeps all it knows. A client's reads for an owner that does not.
func (c *wsConn) Resumes() bool { return !c.client }

// CloseWrite sends a Close frame; nothing can be written any more, Read goes on to the peer's Close frame.
func (c *wsConn) CloseWrite() error { return c.out.shut(c.closeFrame()) }

// Close sends a Close frame unless one was sent, closes the connection below and waits for what is being written. It does not
// wait for the peer.
func (c *wsConn) Close() error { return c.out.close(c.closeFrame()) }
