package selftest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// socketBugs are switches of the naive client's WebSocket.
type socketBugs struct {
	noPong, emptyPong               bool
	takesMask                       bool // undo the mask of a server
	zeroMask, noMask                bool
	anyBits, anyControl, anyLength  bool
	reservedData, longPingData      bool // takes the payload for data
	dropsContinuations, headerInOne bool
	silentClose, reservedClose      bool
}

// naiveSocket is a client's WebSocket as one writes it: a frame at a time.
type naiveSocket struct {
	net.Conn
	bugs  socketBugs
	rest  []byte
	end   error
	write sync.Mutex // guards writing
}

func newNaiveSocket(c net.Conn, bugs socketBugs) *naiveSocket {
	return &naiveSocket{Conn: c, bugs: bugs}
}

func (s *naiveSocket) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.end == nil {
			s.end = s.next()
		}
		if s.end != nil {
			return 0, s.end
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next takes in one frame.
func (s *naiveSocket) next() error {
	head := make([]byte, 2, 14)
	if s.bugs.headerInOne {
		if n, err := s.Conn.Read(head); err != nil || n < 2 {
			return fmt.Errorf("a header of %d bytes: %w", n, errors.Join(err, io.ErrUnexpectedEOF))
		}
	} else if _, err := io.ReadFull(s.Conn, head); err != nil {
		return err
	}
	op, masked, length := head[0]&0xf, head[1]&0x80 != 0, uint64(head[1]&0x7f)
	if err := s.extend(&length); err != nil {
		return err
	}
	known := op <= wire.OpBinary || op >= wire.OpClose && op <= wire.OpPong
	switch {
	case s.bugs.reservedData && op > wire.OpPong, s.bugs.longPingData && op == wire.OpPing && length > 125:
		op = wire.OpBinary
	case !s.bugs.anyBits && (head[0]&0x70 != 0 || !known):
		return errors.New("a frame of unknown meaning")
	case masked && !s.bugs.takesMask:
		return errors.New("a masked frame from a server")
	case op >= wire.OpClose && !s.bugs.anyControl && (length > 125 || head[0]&0x80 == 0):
		return errors.New("an illegal control frame")
	case length > 1<<20:
		return errors.New("a frame over 1 MiB")
	}
	raw := make([]byte, length)
	mask := make([]byte, 4)
	if masked {
		if _, err := io.ReadFull(s.Conn, mask); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(s.Conn, raw); err != nil {
		return err
	}
	for i := range raw {
		raw[i] ^= mask[i%4]
	}
	return s.take(op, raw)
}

// extend reads the rest of a length.
func (s *naiveSocket) extend(length *uint64) error {
	size := map[uint64]int{126: 2, 127: 8}[*length]
	if size == 0 {
		return nil
	}
	raw := make([]byte, 8)
	if _, err := io.ReadFull(s.Conn, raw[8-size:]); err != nil {
		return err
	}
	*length = binary.BigEndian.Uint64(raw)
	if !s.bugs.anyLength && (*length < 126 || size == 8 && (*length <= 0xffff || *length>>63 == 1)) {
		return errors.New("a length in a wrong form")
	}
	*length &= 1<<63 - 1
	return nil
}

func (s *naiveSocket) take(op byte, payload []byte) error {
	switch op {
	case wire.OpPing:
		if s.bugs.emptyPong {
			payload = nil
		}
		if s.bugs.noPong {
			return nil
		}
		return s.send(wire.OpPong, payload)
	case wire.OpPong:
	case wire.OpClose:
		if s.bugs.reservedClose {
			payload = wire.CloseBody(1005, "")
		}
		if !s.bugs.silentClose {
			_ = s.send(wire.OpClose, payload) // the peer may be gone
		}
		return io.EOF
	case wire.OpContinuation:
		if !s.bugs.dropsContinuations {
			s.rest = payload
		}
	default:
		if op == wire.OpBinary || len(payload) > 5 && payload[1] == 3 { // any opcode with TLS in it
			s.rest = payload
		}
	}
	return nil
}

func (s *naiveSocket) send(op byte, payload []byte) error {
	raw := wire.Frame{Op: op, Payload: payload, Unmasked: s.bugs.noMask}.Bytes()
	if s.bugs.zeroMask {
		// the payload as it is, behind a mask that changes nothing
		head := wire.Frame{Op: op, Payload: payload, Unmasked: true}.Bytes()
		at := len(head) - len(payload)
		head[1] |= 0x80
		raw = append(append(bytes.Clone(head[:at]), 0, 0, 0, 0), payload...)
	}
	s.write.Lock()
	defer s.write.Unlock()
	_, err := s.Conn.Write(raw)
	return err
}

func (s *naiveSocket) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.send(wire.OpBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *naiveSocket) Unwrap() net.Conn { return s.Conn }

// x509Options verify against the router's roots and look at no name.
func x509Options(req conformance.DialRequest) x509.VerifyOptions {
	return x509.VerifyOptions{Roots: req.InnerRoots}
}
