package albsim

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// frames reads what one end of a tunnel sends: first, then what comes from src.
func (j *join) frames(framed bool, first []byte, src net.Conn) io.Reader {
	var all io.Reader = src
	if len(first) > 0 {
		all = io.MultiReader(bytes.NewReader(first), src)
	}
	if !framed {
		return all
	}
	return j.framesOf(all)
}

// framesOf reads WebSocket frames by the knob WebSocketFrames.
func (j *join) framesOf(from io.Reader) io.Reader {
	r := &reframer{remask: j.p.WebSocketFrames == "remask"}
	switch j.p.WebSocketFrames {
	case "keep":
		return from
	case "split":
		r.most = int64(j.p.WebSocketFragment)
	}
	r.br = bufio.NewReaderSize(from, 4<<10)
	return r
}

// reframer reads the WebSocket frames of one direction and gives others that mean the same. Nothing is held back: a fragment's
// head goes out before its payload has come.
type reframer struct {
	br     *bufio.Reader
	most   int64 // bytes of payload in a data frame; 0 for any number
	remask bool

	head  []byte // of the frame that goes out, what is left of it
	first byte   // of the frame that came: FIN, RSV and opcode
	rest  int64  // of its payload, behind the fragment at hand
	left  int64  // of the fragment's
	key   []byte // that the payload came masked with, nil for none; mask is what is added to it
	mask  [4]byte
	at    int // place in the key
}

func (r *reframer) Read(p []byte) (int, error) {
	for len(r.head) == 0 && r.left == 0 {
		if r.rest > 0 {
			r.fragment(0)
			break
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	n, err := r.br.Read(p[:min(int64(len(p)), r.left)])
	if r.left -= int64(n); r.left > 0 || r.rest > 0 {
		err = unexpected(err)
	}
	for i := range p[:n] {
		p[i] ^= r.mask[(r.at+i)&3]
	}
	r.at += n
	return n, err
}

// next reads a frame's head: RFC 6455 section 5.2.
func (r *reframer) next() error {
	var b [14]byte
	if _, err := io.ReadFull(r.br, b[:1]); err != nil {
		return err // an end between frames is one
	}
	if _, err := io.ReadFull(r.br, b[1:2]); err != nil {
		return unexpected(err)
	}
	r.first = b[0]
	size := int64(b[1] & 0x7f)
	long := map[int64]int{126: 2, 127: 8}[size]
	masked := b[1]&0x80 != 0
	more := b[2 : 2+long]
	if _, err := io.ReadFull(r.br, more); err != nil {
		return unexpected(err)
	}
	switch long {
	case 2:
		size = int64(binary.BigEndian.Uint16(more))
	case 8:
		size = int64(binary.BigEndian.Uint64(more) &^ (1 << 63))
	}
	r.key, r.mask = nil, [4]byte{}
	if masked {
		r.key = make([]byte, 4)
		if _, err := io.ReadFull(r.br, r.key); err != nil {
			return unexpected(err)
		}
	}
	r.rest, r.at = size, 0
	r.fragment(r.first & 0x0f)
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fragment begins the next frame that goes out: the first of a frame that came with its opcode, another with 0.
func (r *reframer) fragment(opcode byte) {
	r.left = r.rest
	control := r.first&0x08 != 0
	if r.most > 0 && !control {
		r.left = min(r.left, r.most)
	}
	r.rest -= r.left
	first := r.first&0x70 | opcode
	if opcode == 0 && r.first&0x0f != 0 {
		first = 0 // RSV1 of a compressed message stands in its first frame alone: RFC 7692 section 6
	}
	if r.rest == 0 {
		first |= r.first & 0x80
	}
	r.head = append(r.head[:0], first)
	length := byte(0)
	if r.key != nil {
		length = 0x80
	}
	switch {
	case r.left < 126:
		r.head = append(r.head, length|byte(r.left))
	case r.left < 1<<16:
		r.head = binary.BigEndian.AppendUint16(append(r.head, length|126), uint16(r.left))
	default:
		r.head = binary.BigEndian.AppendUint64(append(r.head, length|127), uint64(r.left))
	}
	if r.key == nil {
		return
	}
	// A payload byte stays as it came, so the key goes on where the fragment before left it; remask adds another.
	key := make([]byte, 4)
	for i := range key {
		key[i] = r.key[(r.at+i)&3]
	}
	if r.remask {
		rand.Read(r.mask[:])
		for i := range key {
			key[i] ^= r.mask[(r.at+i)&3]
		}
	}
	r.head = append(r.head, key...)
}
