package backend

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// bulkBuffers are taken for a transfer and given back, so that a connection between two transfers has none.
var bulkBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// bulk answers transfers until the client ends. Each byte is compared with what it must be; a hash would be the load.
func (s *session) bulk() string {
	for n := 0; ; n++ {
		head, err := witness.ReadBulkHead(s.br)
		if err != nil {
			return endOf(err)
		}
		began := time.Now()
		var tail witness.BulkTail
		sent := make(chan error, 1)
		if head.Down > 0 && head.Up > 0 {
			go func() { sent <- s.bulkSend(head.Down, n) }()
		} else {
			sent <- s.bulkSend(head.Down, n)
		}
		if tail.Right, err = s.bulkRead(head.Up, n); err != nil {
			s.raw.Close() // or what is being sent would wait for a client that may not read
		}
		if failed := <-sent; failed != nil || err != nil {
			return endOf(errors.Join(err, failed))
		}
		tail.Sent = time.Since(began)
		if err := tail.Write(s.conn); err != nil {
			return endOf(err)
		}
	}
}

func (s *session) bulkSend(bytes int64, n int) error {
	if bytes == 0 {
		return nil
	}
	buf := bulkBuffers.Get().(*[64 << 10]byte)
	defer bulkBuffers.Put(buf)
	stream := witness.NewStream(s.order.Nonce, "down", n)
	for bytes > 0 {
		piece := buf[:min(bytes, int64(len(buf)))]
		stream.Fill(piece)
		m, err := s.conn.Write(piece)
		s.entry.out.Add(int64(m))
		if err != nil {
			return err
		}
		bytes -= int64(m)
	}
	return nil
}

// bulkRead counts the bytes that were right. It reads all of them, wrong or not: the stream has no other end.
func (s *session) bulkRead(bytes int64, n int) (right int64, err error) {
	if bytes == 0 {
		return 0, nil
	}
	buf := bulkBuffers.Get().(*[64 << 10]byte)
	defer bulkBuffers.Put(buf)
	stream := witness.NewStream(s.order.Nonce, "up", n)
	wrong := false
	for bytes > 0 {
		m, err := s.br.Read(buf[:min(bytes, int64(len(buf)))])
		s.entry.in.Add(int64(m))
		ok := stream.Right(buf[:m])
		if !wrong {
			right += int64(ok)
		}
		wrong = wrong || ok < m
		bytes -= int64(m)
		if err != nil && bytes > 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return right, err
		}
	}
	return right, nil
}
