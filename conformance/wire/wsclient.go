package wire

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// WSClient is the client's end of a WebSocket that a check drives frame by frame, and a tunnel at the same time: what Write is
// given goes out as Shape says, Read gives the payloads of the data frames that come. Pings are not answered: the checks that use
// it are over before anybody misses a pong.
type WSClient struct {
	net.Conn
	// Shape says in which pieces the bytes of one Write go out, each in a write of its own and Pause apart; nil makes one binary
	// frame of them. It is called with writing locked out.
	Shape func(p []byte) [][]byte
	Pause time.Duration

	rest []byte // of the data frame being read

	write sync.Mutex // guards writing
	mu    sync.Mutex // guards pongs
	pongs []string
}

// NewWSClient is the client's end on a connection that has been upgraded.
func NewWSClient(c net.Conn) *WSClient { return &WSClient{Conn: c} }

// Pongs are the payloads of the pongs that came while somebody was reading, in their order.
func (w *WSClient) Pongs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pongs)
}

// Unwrap returns the connection below.
func (w *WSClient) Unwrap() net.Conn { return w.Conn }

// Send writes frames, all of them in one write.
func (w *WSClient) Send(frames ...Frame) error { return w.Pieces(0, Joined(frames...)) }

// Joined is the bytes of frames, one behind the other.
func Joined(frames ...Frame) []byte {
	var raw []byte
	for _, f := range frames {
		raw = append(raw, f.Bytes()...)
	}
	return raw
}

// Pieces writes raw bytes, each piece in a write of its own. The pause between them is part of what is sent, not a way to wait for
// anything.
func (w *WSClient) Pieces(pause time.Duration, pieces ...[]byte) error {
	w.write.Lock()
	defer w.write.Unlock()
	return w.pieces(pause, pieces)
}

func (w *WSClient) pieces(pause time.Duration, pieces [][]byte) error {
	start := time.Now()
	for i, p := range pieces {
		time.Sleep(time.Until(start.Add(time.Duration(i) * pause))) // by the clock: lateness does not add up
		if _, err := w.Conn.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func (w *WSClient) Write(p []byte) (int, error) {
	w.write.Lock()
	defer w.write.Unlock()
	pieces := [][]byte{Frame{Op: OpBinary, Payload: p}.Bytes()}
	if w.Shape != nil {
		pieces = w.Shape(p)
	}
	if err := w.pieces(w.Pause, pieces); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read reads frames up to the next byte of data. A close frame is a *[CloseError], whatever its code.
func (w *WSClient) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		if err := w.Next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// Next reads one frame. Data that was not read before is lost.
func (w *WSClient) Next() error {
	f, err := ReadFrame(w.Conn)
	if err != nil {
		return err
	}
	switch f.Op {
	case OpPong:
		w.mu.Lock()
		w.pongs = append(w.pongs, string(f.Payload))
		w.mu.Unlock()
	case OpClose:
		return &CloseError{Code: f.CloseCode()}
	case OpPing:
	default:
		w.rest = f.Payload
	}
	return nil
}

// CloseCode is the code of a close frame; 1005, as RFC 6455 section 7.1.5 has it, when it carries none.
func (f Frame) CloseCode() int {
	if len(f.Payload) < 2 {
		return 1005
	}
	return int(f.Payload[0])<<8 | int(f.Payload[1])
}

// Ending is what the server of a WebSocket did until it closed the connection or time was up.
type Ending struct {
	// Frames are what came but for pings, a close frame and what follows it. Of their payloads 125 bytes are kept.
	Frames []Frame
	// Close is the close frame, nil when none came.
	Close *Frame
	// Behind are the frames behind the close frame.
	Behind []Frame
	// Err is how the stream ended: io.EOF at a frame's boundary, or the error of the read.
	Err error
}

// maxFrames bounds what ReadEnding reads.
const maxFrames = 1000

// ReadEnding reads to the end of the stream; its deadline is the caller's.
func ReadEnding(r io.Reader) Ending {
	var e Ending
	for range maxFrames {
		f, err := ReadFrame(r)
		f.Payload = f.Payload[:min(len(f.Payload), maxControl)]
		switch {
		case err != nil:
			e.Err = err
			return e
		case f.Op == OpPing && e.Close == nil:
		case e.Close != nil:
			e.Behind = append(e.Behind, f)
		case f.Op == OpClose:
			e.Close = &f
		default:
			e.Frames = append(e.Frames, f)
		}
	}
	e.Err = fmt.Errorf("websocket: more than %d frames and no end", maxFrames)
	return e
}
