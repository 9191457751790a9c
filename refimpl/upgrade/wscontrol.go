package upgrade

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// attendEvery is how often a client looks whether anybody reads: well within the time for which a server waits for a pong.
const attendEvery = 10 * time.Second

func (c *wsConn) attendLater() {
	c.out.qmu.Lock()
	defer c.out.qmu.Unlock()
	c.out.arm(attendEvery, c.attend)
}

// attend reads for an owner that does not, such as a database pool with idle connections: pings are answered, or a server that waits
// for pongs would take us for dead. It stops at the first byte of data; a Read that comes meanwhile waits for the same bytes, and
// its deadline ends both.
func (c *wsConn) attend() {
	defer c.out.wg.Done()
	if c.rmu.TryLock() {
		_ = c.advance() // the owner's Read meets it again: a final error is kept, any other comes back
		over := c.failed != nil
		c.rmu.Unlock()
		if over {
			return
		}
	}
	c.attendLater()
}

// control reads a control frame's payload and acts on it.
func (c *wsConn) control() error {
	for c.left > 0 {
		var room [125]byte
		n, err := c.in.Read(room[:c.left])
		if n == 0 && err != nil {
			return c.ended(err, true)
		}
		c.unmask(room[:n])
		c.ctl = append(c.ctl, room[:n]...)
		c.left -= int64(n)
	}
	c.inFrame = false
	switch c.op {
	case opPing:
		c.out.post(control{frame: c.frame(nil, opPong, c.ctl)})
	case opClose:
		return c.closed(bytes.Clone(c.ctl))
	default: // a pong: nobody waits for it
	}
	return nil
}

// closed handles the peer's Close frame: the reader is at its end. 1000 and no code are a clean one.
func (c *wsConn) closed(payload []byte) error {
	code := ws.StatusCode(1000)
	switch {
	case len(payload) == 1:
		return c.refuse(ws.StatusProtocolError, "close frame with half a code")
	case len(payload) >= 2:
		code = ws.StatusCode(binary.BigEndian.Uint16(payload))
		if !sendable(code) {
			return c.refuse(ws.StatusProtocolError, fmt.Sprintf("close frame with code %d", code))
		}
		if !utf8.Valid(payload[2:]) {
			return c.refuse(ws.StatusInvalidFramePayloadData, "close reason is not UTF-8")
		}
		payload = payload[:2:len(payload)]
	}
	c.cmu.Lock()
	c.peerCode = payload
	if payload == nil {
		c.peerCode = []byte{}
	}
	c.cmu.Unlock()
	c.out.postIdle(control{frame: c.frame(nil, opClose, payload), final: true}, closeEcho)
	c.failed = io.EOF
	if code != 1000 {
		c.failed = &CloseError{Code: uint16(code), Reason: string(c.ctl[2:])}
	}
	return c.failed
}

// sendable is RFC 6455 section 7.4: what a Close frame may carry.
func sendable(code ws.StatusCode) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code >= 1000 && code <= 1014:
		return code != 1004 && code != 1005 && code != 1006
	}
	return false
}

// refuse tells the peer why and ends the reader.
func (c *wsConn) refuse(code ws.StatusCode, reason string) error {
	c.failed = &ProtocolError{Code: uint16(code), Reason: reason}
	c.out.post(control{frame: c.frame(nil, opClose, binary.BigEndian.AppendUint16(nil, uint16(code))), final: true})
	return c.failed
}
