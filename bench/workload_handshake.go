package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const stormName = "storm"

func init() {
	handshake := kind{
		name: "handshake", backend: "witness", opens: always,
		make: func(Shape) workload { return handshakeWorkload{} },
	}
	register(handshake)
	storm := handshake
	storm.name = stormName
	storm.options = []option{{"burst", "100", func(s *Shape) { setDefault(&s.Burst, 100) }}}
	register(storm)
}

// handshakeWorkload opens tunnels and does nothing with them but see that they lead to the witness and end cleanly: under TLS 1.3 a
// handshake is known to be good on both sides, and a ticket is there, only when something was read behind it.
//
// A storm is the same in bursts: without a connect_rate, one in the middle of each window.
type handshakeWorkload struct{}

func (handshakeWorkload) Open(_ context.Context, conn net.Conn, access Access) (session, error) {
	return handshakeSession{conn}, ask(conn, access, witness.Order{Do: witness.Close})
}

type handshakeSession struct{ conn net.Conn }

func (s handshakeSession) Do(context.Context) error {
	var b [1]byte
	n, err := s.conn.Read(b[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case n > 0:
		return errors.New("handshake: want the end behind the witness's record, and more came")
	}
	return fmt.Errorf("handshake: want the end behind the witness's record: %w", err)
}

func (s handshakeSession) Close() error { return s.conn.Close() }
