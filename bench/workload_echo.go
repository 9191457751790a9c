package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func init() {
	register(kind{
		name: "echo", backend: "witness",
		options: []option{{"size", "64 B", func(s *Shape) { setDefault(&s.Size, echoSize) }}},
		check:   func(s Shape) error { return between("size", s.Size, 8, maxEcho) },
		make:    func(s Shape) workload { return echoWorkload{size: int(s.Size)} },
	})
}

// echoWorkload sends some bytes to the witness and wants the same back (ping-pong): the cost of the path with nearly nothing behind it.
type echoWorkload struct{ size int }

const (
	// echoSize is small enough for one TLS record and one segment, as a keystroke or a small query is.
	echoSize = 64
	// maxEcho is what the buffers of any path hold: the witness reads no faster than its echo is taken, and all is sent before anything
	// is read. Of more, bulk moves both ways at once.
	maxEcho = 64 << 10
)

func (w echoWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	// One allocation, so that thousands of tunnels stay small. A payload is never sent twice: the name is the session's, the number the request's.
	s := &echoSession{conn: conn, buf: make([]byte, 2*w.size)}
	if _, err := rand.Read(s.out()); err != nil {
		return nil, fmt.Errorf("make a payload: %w", err)
	}
	return s, ask(conn, access, witness.Order{Do: witness.Echo})
}

// ask sends an order under a random name and wants the record of the right witness.
func ask(conn net.Conn, access Access, o witness.Order) error {
	if o.Nonce == "" {
		o.Nonce = newNonce()
	}
	rec, err := witness.Ask(conn, o)
	if err != nil {
		return fmt.Errorf("ask the witness: %w", err)
	}
	if access.Witness != "" && rec.Witness != access.Witness {
		return fmt.Errorf("ask the witness: %q answered, and the route leads to %q", rec.Witness, access.Witness)
	}
	return nil
}

func newNonce() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("bench-%x", b)
}

type echoSession struct {
	conn net.Conn
	seq  uint64
	got  int    // of the answer
	buf  []byte // what is sent, and what comes back
}

func (s *echoSession) out() []byte { return s.buf[:len(s.buf)/2] }
func (s *echoSession) in() []byte  { return s.buf[len(s.buf)/2:] }

func (s *echoSession) Do(context.Context) error {
	if err := s.Start(); err != nil {
		return err
	}
	return s.Finish()
}

func (s *echoSession) Start() error {
	s.seq, s.got = s.seq+1, 0
	binary.BigEndian.PutUint64(s.out(), s.seq)
	if _, err := s.conn.Write(s.out()); err != nil {
		return fmt.Errorf("echo: send: %w", err)
	}
	return nil
}

func (s *echoSession) Finish() error {
	n, err := io.ReadFull(s.conn, s.in()[s.got:])
	if s.got += n; err != nil {
		return fmt.Errorf("echo: read: %w", err)
	}
	if out, in := s.out(), s.in(); !bytes.Equal(in, out) {
		at := 0
		for in[at] == out[at] {
			at++
		}
		end := min(at+16, len(out))
		return fmt.Errorf("echo: sent %x, got %x back, at byte %d of %d", out[at:end], in[at:end], at, len(out))
	}
	return nil
}

func (s *echoSession) Close() error { return s.conn.Close() }
