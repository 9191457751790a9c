package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func init() {
	register(kind{
		name: "bulk", backend: "witness",
		options: []option{
			{"direction", Down, func(s *Shape) { setDefault(&s.Direction, Down) }},
			{"bytes", "16 MiB", func(s *Shape) { setDefault(&s.Bytes, 16<<20) }},
		},
		check: func(s Shape) error {
			return errors.Join(oneOf("direction", s.Direction, Up, Down, Duplex), between("bytes", s.Bytes, 1, witness.MaxBulk))
		},
		make: func(s Shape) workload {
			w := bulkWorkload{}
			if s.Direction != Down {
				w.head.Up = s.Bytes
			}
			if s.Direction != Up {
				w.head.Down = s.Bytes
			}
			return w
		},
	})
}

// bulkWorkload moves bytes to the witness, from it, or both at once, and each end compares every one with what it must be.
type bulkWorkload struct {
	head witness.BulkHead
	pace func(ctx context.Context, began time.Time, read int64) error // called behind each piece that was read; nil does not wait
	tail func(witness.BulkTail) error                                 // what else the end must be like
}

func (w bulkWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	s := &bulkSession{bulkWorkload: w, conn: conn, nonce: newNonce()}
	return s, ask(conn, access, witness.Order{Nonce: s.nonce, Do: witness.Bulk})
}

type bulkSession struct {
	bulkWorkload
	conn  net.Conn
	nonce string
	n     int // of transfers
}

// bulkBuffers are taken for a transfer and given back: a tunnel between two of them has none.
var bulkBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (s *bulkSession) Do(ctx context.Context) error {
	n := s.n
	s.n++
	began := time.Now()
	if err := s.head.Write(s.conn); err != nil {
		return fmt.Errorf("bulk: ask: %w", err)
	}
	sent := make(chan error, 1)
	if s.head.Up > 0 && s.head.Down > 0 {
		go func() { sent <- s.send(n) }()
	} else {
		sent <- s.send(n)
	}
	err := s.receive(ctx, began, n)
	if err != nil {
		_ = s.conn.SetWriteDeadline(past) // the tunnel is over: do not wait for a peer that may not read
	}
	if err := errors.Join(<-sent, err); err != nil {
		return err
	}
	tail, err := witness.ReadBulkTail(s.conn)
	switch {
	case err != nil:
		return fmt.Errorf("bulk: read the witness's count: %w", err)
	case tail.Right != s.head.Up:
		return fmt.Errorf("bulk: of %d bytes sent, byte %d arrived as another", s.head.Up, tail.Right)
	case s.tail != nil:
		return s.tail(tail)
	}
	return nil
}

func (s *bulkSession) send(n int) error {
	if s.head.Up == 0 {
		return nil
	}
	buf := bulkBuffers.Get().(*[64 << 10]byte)
	defer bulkBuffers.Put(buf)
	stream := witness.NewStream(s.nonce, "up", n)
	for left := s.head.Up; left > 0; {
		piece := buf[:min(left, int64(len(buf)))]
		stream.Fill(piece)
		if _, err := s.conn.Write(piece); err != nil {
			return fmt.Errorf("bulk: send, %d of %d bytes left: %w", left, s.head.Up, err)
		}
		left -= int64(len(piece))
	}
	return nil
}

func (s *bulkSession) receive(ctx context.Context, began time.Time, n int) error {
	if s.head.Down == 0 {
		return nil
	}
	buf := bulkBuffers.Get().(*[64 << 10]byte)
	defer bulkBuffers.Put(buf)
	stream := witness.NewStream(s.nonce, "down", n)
	for read := int64(0); read < s.head.Down; {
		m, err := s.conn.Read(buf[:min(s.head.Down-read, int64(len(buf)))])
		if right := stream.Right(buf[:m]); right < m {
			return fmt.Errorf("bulk: byte %d of %d is another than was sent", read+int64(right), s.head.Down)
		}
		read += int64(m)
		if err != nil && read < s.head.Down {
			return fmt.Errorf("bulk: read, %d of %d bytes: %w", read, s.head.Down, err)
		}
		if s.pace != nil {
			if err := s.pace(ctx, began, read); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *bulkSession) Moved() int64 { return s.head.Up + s.head.Down }
func (s *bulkSession) Close() error { return s.conn.Close() }
