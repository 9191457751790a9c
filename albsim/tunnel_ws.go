package albsim

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
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
	if j.p.WebSocketFrames == "keep" {
		return from
	}
	br := bufio.NewReaderSize(from, 4<<10)
	switch j.p.WebSocketFrames {
	case "split":
		return &reframer{br: br, most: int64(j.p.WebSocketFragment)}
	case "merge":
		return &merger{br: br, most: cmp.Or(j.p.WebSocketFragment, maxMerged)}
	}
	return &reframer{br: br, remask: true}
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

// next reads a frame's head.
func (r *reframer) next() error {
	h, err := readWSHead(r.br)
	if err != nil {
		return err
	}
	r.first, r.key, r.mask = h.first, h.key, [4]byte{}
	r.rest, r.at = h.size, 0
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
	r.head = wsHead{first: first, size: r.left, key: r.goesOutWith()}.append(r.head[:0])
}

// goesOutWith is the key of the next frame.
func (r *reframer) goesOutWith() []byte {
	if r.key == nil {
		return nil
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
	return key
}
