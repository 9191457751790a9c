package witness

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// MaxBulk bounds one transfer of the order Bulk in each direction, in bytes.
const MaxBulk = 1 << 34

// BulkHead begins a transfer of the order [Bulk]; it is the client's. Both ends then send at once, and whoever reads compares.
type BulkHead struct{ Up, Down int64 }

// BulkTail ends it; it is the witness's, behind its last byte.
type BulkTail struct {
	// Right is how many bytes came as they should, up to the first that did not.
	Right int64
	// Sent is from the head to when the witness had got rid of its last byte: what the client had not read by then was held by the path.
	Sent time.Duration
}

// bulkLine is the length of either on the wire: two numbers of eight big-endian bytes.
const bulkLine = 16

func writeBulk(w io.Writer, a, b int64) error {
	var line [bulkLine]byte
	binary.BigEndian.PutUint64(line[:8], uint64(a))
	binary.BigEndian.PutUint64(line[8:], uint64(b))
	_, err := w.Write(line[:])
	return err
}

func readBulk(r io.Reader) (a, b int64, err error) {
	var line [bulkLine]byte
	if _, err := io.ReadFull(r, line[:]); err != nil {
		return 0, 0, err
	}
	return int64(binary.BigEndian.Uint64(line[:8])), int64(binary.BigEndian.Uint64(line[8:])), nil
}

// Write sends the head.
func (h BulkHead) Write(w io.Writer) error { return writeBulk(w, h.Up, h.Down) }

// ReadBulkHead reads a head; the end of the stream before it is io.EOF.
func ReadBulkHead(r io.Reader) (h BulkHead, err error) {
	h.Up, h.Down, err = readBulk(r)
	if err == nil && (h.Up < 0 || h.Up > MaxBulk || h.Down < 0 || h.Down > MaxBulk) {
		err = fmt.Errorf("a transfer of %d and %d bytes is not between 0 and %d", h.Up, h.Down, int64(MaxBulk))
	}
	return h, err
}

// Write sends the tail.
func (t BulkTail) Write(w io.Writer) error { return writeBulk(w, t.Right, int64(t.Sent)) }

// ReadBulkTail reads a tail.
func ReadBulkTail(r io.Reader) (t BulkTail, err error) {
	var ns int64
	t.Right, ns, err = readBulk(r)
	t.Sent = time.Duration(ns)
	return t, err
}

// Stream is the bytes of one transfer in one direction, without end: words of eight little-endian bytes, of which no two in a stream
// are equal, so that lost, doubled or swapped bytes cannot go unseen. Unlike [Pattern] it costs next to nothing.
type Stream struct {
	seed uint64
	at   uint64
}

// NewStream is the stream of a direction ("up" or "down") in transfer number n (from 0) of a connection.
func NewStream(nonce, direction string, n int) Stream {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", nonce, direction, n))
	return Stream{seed: binary.BigEndian.Uint64(sum[:8])}
}

// word is a bijection of i: a product with an odd number, and a shift, can be undone.
func (s *Stream) word(i uint64) uint64 {
	x := s.seed + i*0x9e3779b97f4a7c15
	return (x ^ x>>32) * 0xd6e8feb86659fd93
}

func (s *Stream) byte() byte { return byte(s.word(s.at/8) >> (8 * (s.at % 8))) }

// Fill writes the next bytes into b.
func (s *Stream) Fill(b []byte) {
	for ; s.at%8 != 0 && len(b) > 0; b = b[1:] {
		b[0] = s.byte()
		s.at++
	}
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, s.word(s.at/8))
		s.at += 8
	}
	for i := range b {
		b[i] = s.byte()
		s.at++
	}
}

// Right is how many of b are the next bytes, up to the first that is not; all of b counts as read.
func (s *Stream) Right(b []byte) int {
	end, begin := s.at+uint64(len(b)), s.at
	defer func() { s.at = end }()
	for len(b) > 0 {
		if s.at%8 == 0 && len(b) >= 8 && binary.LittleEndian.Uint64(b) == s.word(s.at/8) {
			s.at, b = s.at+8, b[8:]
			continue
		}
		if b[0] != s.byte() {
			return int(s.at - begin)
		}
		s.at, b = s.at+1, b[1:]
	}
	return int(end - begin)
}
