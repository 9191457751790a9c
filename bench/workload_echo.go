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

func init() { register("echo", echoWorkload{}) }

// echoWorkload sends 64 bytes to the witness and wants the same 64 back: the cost of the path with nearly nothing behind it.
type echoWorkload struct{}

// echoSize is small enough for one TLS record and one segment, as a keystroke or a small query is.
const echoSize = 64

func (echoWorkload) Open(_ context.Context, conn net.Conn, _ Access) (session, error) {
	s := &echoSession{conn: conn}
	if _, err := rand.Read(s.out[:]); err != nil {
		return nil, fmt.Errorf("make a payload: %w", err)
	}
	nonce := fmt.Sprintf("bench-%x", s.out[:16])
	if _, err := witness.Ask(conn, witness.Order{Nonce: nonce, Do: witness.Echo}); err != nil {
		return nil, fmt.Errorf("ask the witness: %w", err)
	}
	return s, nil
}

type echoSession struct {
	conn    net.Conn
	seq     uint64
	out, in [echoSize]byte
}

func (s *echoSession) Do(context.Context) error {
	s.seq++
	binary.BigEndian.PutUint64(s.out[16:], s.seq) // behind the random name of the session: no payload is ever sent twice
	if _, err := s.conn.Write(s.out[:]); err != nil {
		return fmt.Errorf("echo: send: %w", err)
	}
	if _, err := io.ReadFull(s.conn, s.in[:]); err != nil {
		return fmt.Errorf("echo: read: %w", err)
	}
	if !bytes.Equal(s.in[:], s.out[:]) {
		return fmt.Errorf("echo: sent %x, got %x back", s.out[:24], s.in[:24])
	}
	return nil
}

func (s *echoSession) Close() error { return s.conn.Close() }
