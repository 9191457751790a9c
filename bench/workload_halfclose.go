package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func init() {
	register(kind{
		name: "half-close", backend: "witness", opens: always,
		options: []option{{"bytes", "64 KiB", func(s *Shape) { setDefault(&s.Bytes, 64<<10) }}},
		check:   func(s Shape) error { return between("bytes", s.Bytes, 1, 64<<20) },
		make:    func(s Shape) workload { return halfCloseWorkload{bytes: s.Bytes} },
	})
}

// halfCloseWorkload ends the client's half of a new tunnel; only then does the witness send, and ends its own half behind the last byte.
type halfCloseWorkload struct{ bytes int64 }

func (w halfCloseWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	s := &halfCloseSession{conn: conn, nonce: newNonce(), bytes: w.bytes}
	return s, ask(conn, access, witness.Order{Nonce: s.nonce, Do: witness.AfterEOF, Bytes: w.bytes})
}

type halfCloseSession struct {
	conn  net.Conn
	nonce string
	bytes int64
}

func (s *halfCloseSession) Do(context.Context) error {
	if err := netx.CloseWrite(s.conn); err != nil {
		return fmt.Errorf("half-close: end the client's half: %w", err)
	}
	want := witness.Pattern(s.nonce)
	buf := bulkBuffers.Get().(*[64 << 10]byte)
	defer bulkBuffers.Put(buf)
	in, right := buf[:len(buf)/2], buf[len(buf)/2:]
	for read := int64(0); ; {
		n, err := s.conn.Read(in)
		_, _ = want.Read(right[:n]) // never fails
		for i := range n {
			if in[i] != right[i] {
				return fmt.Errorf("half-close: byte %d of %d is another than was sent", read+int64(i), s.bytes)
			}
		}
		read += int64(n)
		switch {
		case read > s.bytes:
			return fmt.Errorf("half-close: %d bytes came, %d were asked for", read, s.bytes)
		case errors.Is(err, io.EOF) && read == s.bytes:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("half-close: the end came behind byte %d of %d", read, s.bytes)
		case err != nil:
			return fmt.Errorf("half-close: behind byte %d of %d: %w", read, s.bytes, err)
		}
	}
}

func (s *halfCloseSession) Moved() int64 { return s.bytes }
func (s *halfCloseSession) Close() error { return s.conn.Close() }
