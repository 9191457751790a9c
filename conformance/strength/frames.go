package strength

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// frames gives each whole WebSocket frame that passes to change; nil loses it. Tunnels of another type pass as they are.
func frames(change func(f wire.Frame) *wire.Frame) func(typ string) Copy {
	return func(typ string) Copy {
		if typ != wire.WebSocket {
			return nil
		}
		return func(dst, src net.Conn) error {
			for {
				f, err := wire.ReadFrame(src)
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if out := change(f); out != nil {
					if _, err := dst.Write(out.Bytes()); err != nil {
						return err
					}
				}
			}
		}
	}
}

// swallow loses frames of an opcode.
func swallow(op byte) func(typ string) Copy {
	return frames(func(f wire.Frame) *wire.Frame {
		if f.Op == op {
			return nil
		}
		return &f
	})
}

// The opcodes of RFC 6455 section 5.2.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// noPings swallows pings of WebSocket, and those of alpn-ping, which are frames of no bytes behind a length of four.
func noPings(typ string) Copy {
	if typ != wire.ALPNPing {
		return swallow(opPing)(typ)
	}
	return func(dst, src net.Conn) error {
		r := bufio.NewReader(src)
		for {
			head := make([]byte, 4)
			if _, err := io.ReadFull(r, head); err != nil {
				return ended(err)
			}
			size := binary.BigEndian.Uint32(head)
			if size == 0 {
				continue
			}
			if _, err := dst.Write(head); err != nil {
				return err
			}
			if _, err := io.CopyN(dst, r, int64(size)); err != nil {
				return ended(err)
			}
		}
	}
}

// regularClose makes every close frame one with the code 1000.
func regularClose(f wire.Frame) *wire.Frame {
	if f.Op == opClose {
		f.Payload = wire.CloseBody(1000, "")
	}
	return &f
}

// textIsBinary passes text as binary.
func textIsBinary(f wire.Frame) *wire.Frame {
	if f.Op == opText {
		f.Op = opBinary
	}
	return &f
}

// clean takes the reserved bits away.
func clean(f wire.Frame) *wire.Frame {
	f.RSV = 0
	return &f
}

// whole takes every fragment for a message.
func whole(f wire.Frame) *wire.Frame {
	f.More = false
	return &f
}

func up(f func(typ string) Copy) func() Handler { return exchange{up: f}.handler }

func down(f func(typ string) Copy) func() Handler { return exchange{down: f}.handler }

var frameFaults = []Fault{
	{
		Name: "pongs-swallowed", About: "swallows the target's pongs",
		Layer: HTTP, New: down(swallow(opPong)),
		Checks: []string{"WSF-06", "WSF-08"},
	},
	{
		Name: "client-pings-swallowed", About: "swallows the client's pings",
		Layer: HTTP, New: up(swallow(opPing)),
		Checks: []string{"WSF-01", "WSF-03", "WSF-06"},
	},
	{
		Name: "close-swallowed-up", About: "swallows the client's close frames",
		Layer: HTTP, New: up(swallow(opClose)),
		Checks: []string{"TUN-07", "WSF-04"},
	},
	{
		Name: "close-swallowed-down", About: "swallows the target's close frames",
		Layer: HTTP, New: down(swallow(opClose)),
		Checks: []string{"WSF-09"},
	},
	{
		Name: "close-code-lost", About: "makes every close frame of the target one with the code 1000",
		Layer: HTTP, New: down(frames(regularClose)),
		Checks: []string{"WSF-10", "WSF-11"},
	},
	{
		Name: "text-is-binary", About: "passes the client's text messages as binary ones",
		Layer: HTTP, New: up(frames(textIsBinary)),
		Checks: []string{"WSF-10"},
	},
	{
		Name: "rsv-cleared", About: "clears the reserved bits of the client's frames",
		Layer: HTTP, New: up(frames(clean)),
		Checks: []string{"WSF-03"},
	},
	{
		Name: "fragments-final", About: "passes every fragment of the client's as a message of its own",
		Layer: HTTP, New: up(frames(whole)),
		Checks: []string{"WSF-07"},
	},
}
