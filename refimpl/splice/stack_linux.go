package splice

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// carriage is how the loop can carry a connection: as a TCP socket, or as a stack of layers on one.
type carriage struct {
	conn net.Conn
	tcp  *net.TCPConn // nil: it cannot
	base *base        // nil for a socket alone
}

func carried(conn net.Conn) carriage {
	if tcp := bottom(conn); tcp != nil {
		return carriage{conn, tcp, nil}
	}
	if b := standing(conn); b != nil {
		return carriage{conn, b.tcp.Load(), b}
	}
	return carriage{}
}

// standing returns the base of a stack in which every layer goes on with the next call when the one below says errWait; otherwise nil.
// A stack that has none and in which nobody writes on his own gets one.
func standing(conn net.Conn) *base {
	framed := false
	for c := conn; c != nil; c = below(c) {
		switch c := c.(type) {
		case *base:
			return c
		case *Watched:
			if !framed && bottom(c.Conn) != nil {
				Prepare(c)
			}
		case *tls.Conn:
			if _, ok := c.NetConn().(*Watched); !ok {
				return nil // nobody could tell how it ended
			}
		case Framer:
			framed = true
			if !c.Resumes() {
				return nil
			}
		case holder:
		default:
			return nil
		}
	}
	return nil
}

// hold keeps others from writing to the connection while the loop takes it; false when somebody does.
func (c carriage) hold() bool {
	return c.tcp != nil && (c.base == nil || c.base.writing.TryLock())
}

func (c carriage) free() {
	if c.base != nil {
		c.base.writing.Unlock()
	}
}

// seat makes of the connection, whose socket has the descriptor fd, an end of a tunnel.
func (h *half) seat(c carriage, fd int) {
	h.fd = fd
	top, held := peel(c.conn)
	h.pending = held
	if c.base != nil {
		h.top, h.base = top, c.base
		for l := top; l != nil; l = below(l) {
			_, framer := l.(Framer)
			h.framed = h.framed || framer
		}
		h.base.lend(fd)
		h.readable = true // at the first event of any kind: what layers have read already is no event
	}
	c.tcp.Close()
}

// waits tells the framers of a stack whether somebody waits for bytes.
func (h *half) waits(yes bool) {
	if !h.framed {
		return
	}
	if yes = yes && !h.base.owes(); h.waiting == yes {
		return
	}
	h.waiting = yes
	for l := h.top; l != nil; l = below(l) {
		if f, ok := l.(Framer); ok {
			f.Waits(yes)
		}
	}
}

// fillStack reads once from a stack and hands on what came. Its layers may have more than they gave: only errWait says that they have not.
func (p *poller) fillStack(x *pair, side int) *failure {
	src := &x.ends[side]
	src.waiting = false // as a framer sees it when it has read
	src.base.reads = turn
	n, err := src.top.Read(p.scratch[:])
	if n > 0 {
		if f := p.hand(x, side, p.scratch[:n]); f != nil {
			return f
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, errWait) && src.base.reads == 0: // there is more
	case errors.Is(err, errWait):
		src.readable = false
		src.waits(true)
	case err != io.EOF: //nolint:errorlint // see direction.copy
		return &failure{side: side, read: true, err: err}
	case truncated(src.top):
		return &failure{side: side, read: true, err: errTruncated}
	default:
		src.ended = true
	}
	return nil
}
