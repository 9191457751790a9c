package witness

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestStreamIsTheSameInAnyPieces(t *testing.T) {
	whole := make([]byte, 1000)
	s := NewStream("n", "up", 3)
	s.Fill(whole)
	for piece := 1; piece < 20; piece++ {
		var got []byte
		s, check := NewStream("n", "up", 3), NewStream("n", "up", 3)
		for len(got) < len(whole) {
			b := make([]byte, min(piece, len(whole)-len(got)))
			s.Fill(b)
			if check.Right(b) != len(b) {
				t.Fatalf("pieces of %d: not right behind byte %d", piece, len(got))
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, whole) {
			t.Errorf("pieces of %d differ", piece)
		}
	}
	for _, o := range []Stream{NewStream("m", "up", 3), NewStream("n", "down", 3), NewStream("n", "up", 4)} {
		if n := o.Right(whole); n > 4 {
			t.Errorf("another stream is the same for %d bytes", n)
		}
	}
}

func TestStreamNoticesEveryByte(t *testing.T) {
	s := NewStream("n", "up", 0)
	right := make([]byte, 100)
	s.Fill(right)
	for i := range right {
		wrong := bytes.Clone(right)
		wrong[i] ^= 0x80
		s := NewStream("n", "up", 0)
		if n := s.Right(wrong); n != i {
			t.Errorf("byte %d is wrong, %d were right", i, n)
		}
	}
	s = NewStream("n", "up", 0)
	if n := s.Right(append(bytes.Clone(right[:40]), right[48:]...)); n < 40 || n > 41 { // one byte may be the same by chance
		t.Errorf("a word is lost behind 40 bytes, %d were right", n)
	}
}

func TestBulkLines(t *testing.T) {
	var b bytes.Buffer
	if err := errors.Join(BulkHead{Up: 7, Down: MaxBulk}.Write(&b), BulkTail{Right: 5, Sent: 9}.Write(&b)); err != nil {
		t.Fatal(err)
	}
	if h, err := ReadBulkHead(&b); err != nil || h != (BulkHead{7, MaxBulk}) {
		t.Errorf("head %+v, %v", h, err)
	}
	if tail, err := ReadBulkTail(&b); err != nil || tail != (BulkTail{5, 9}) {
		t.Errorf("tail %+v, %v", tail, err)
	}
	if _, err := ReadBulkHead(&b); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last: %v", err)
	}
	for _, h := range []BulkHead{{Up: -1}, {Down: MaxBulk + 1}} {
		b.Reset()
		if err := h.Write(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBulkHead(&b); err == nil {
			t.Errorf("%+v was taken", h)
		}
	}
}
