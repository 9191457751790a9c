package wire

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/gobwas/ws"
)

// maxControl is the longest payload of a control frame (RFC 6455 section 5.5).
const maxControl = 125

// WSServer is the server's end of a tunnel in binary WebSocket messages, for checks that play the server to a client under
// test: every Write is one frame, pings are answered, pongs are kept. Reading and writing may go on at the same time.
type WSServer struct {
	net.Conn
	// AnyMask takes frames without a mask too, and counts them.
	AnyMask bool

	left int64
	mask [4]byte
	pos  int

	write sync.Mutex // guards writing
	mu    sync.Mutex // guards what follows
	pongs []string
	close *Frame
	masks map[[4]byte]int
	bare  int // frames without a mask
}

// NewWSServer is the server's end on a connection on which the 101 has been written.
func NewWSServer(c net.Conn) *WSServer { return &WSServer{Conn: c} }

// Pongs are the payloads of the pongs that came, in their order.
func (w *WSServer) Pongs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pongs)
}

// Closed is the close frame that came, nil for none.
func (w *WSServer) Closed() *Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.close
}

// Masks is how many frames came, how many of them without a mask, and how many different masks the others had.
func (w *WSServer) Masks() (frames, bare, masks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.masks {
		frames += n
	}
	return frames + w.bare, w.bare, len(w.masks)
}

// Unwrap returns the connection below.
func (w *WSServer) Unwrap() net.Conn { return w.Conn }

func (w *WSServer) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(p[:min(int64(len(p)), w.left)])
	ws.Cipher(p[:n], w.mask, w.pos)
	w.pos += n
	w.left -= int64(n)
	return n, err
}

func (w *WSServer) next() error {
	head, err := ws.ReadHeader(w.Conn)
	if err != nil {
		return err
	}
	if !head.Masked && !w.AnyMask {
		return fmt.Errorf("websocket: unmasked frame from a client, opcode %#x", byte(head.OpCode))
	}
	w.mu.Lock()
	if w.masks == nil {
		w.masks = map[[4]byte]int{}
	}
	if head.Masked {
		w.masks[head.Mask]++
	} else {
		w.bare++
	}
	w.mu.Unlock()
	switch head.OpCode {
	case ws.OpBinary, ws.OpContinuation:
		w.left, w.mask, w.pos = head.Length, head.Mask, 0
		return nil
	case ws.OpPing, ws.OpPong, ws.OpClose:
	default:
		return fmt.Errorf("websocket: frame with opcode %#x in a binary tunnel", byte(head.OpCode))
	}
	if head.Length > maxControl {
		return fmt.Errorf("websocket: control frame of %d bytes", head.Length)
	}
	payload := make([]byte, head.Length)
	if _, err := io.ReadFull(w.Conn, payload); err != nil {
		return fmt.Errorf("websocket: reading a control frame: %w", err)
	}
	ws.Cipher(payload, head.Mask, 0)
	switch head.OpCode {
	case ws.OpPing:
		return w.send(ws.NewPongFrame(payload))
	case ws.OpPong:
		w.mu.Lock()
		w.pongs = append(w.pongs, string(payload))
		w.mu.Unlock()
	default: // a close frame
		w.mu.Lock()
		w.close = &Frame{Op: OpClose, Payload: payload}
		w.mu.Unlock()
		return io.EOF
	}
	return nil
}

func (w *WSServer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.send(ws.NewBinaryFrame(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *WSServer) send(f ws.Frame) error {
	w.write.Lock()
	defer w.write.Unlock()
	_, err := w.Conn.Write(ws.MustCompileFrame(f))
	return err
}

// ServerPing is a ping frame as a server sends it.
func ServerPing(payload []byte) []byte { return ws.MustCompileFrame(ws.NewPingFrame(payload)) }
