package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// The codes that stand where a startup message has its protocol version.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssEncRequest = 80877104
)

const (
	postgresALPN  = "postgresql" // IANA, "TLS ALPN Protocol IDs"
	tlsHandshake  = 22           // the first byte of a ClientHello's record; a startup message's is 0
	maxStartup    = 10000        // MAX_STARTUP_PACKET_LENGTH of the server
	maxEncryption = 2            // a client asks for GSSAPI once and for TLS once
)

// postgres serves a PostgreSQL client: its encryption requests are answered here, its first other message is dialled for.
func (s *Server) postgres(ctx context.Context, conn net.Conn) {
	opened, first, err := s.opening(ctx, conn)
	if err != nil {
		s.noOpening(ctx, err)
		return
	}
	remote, err := s.Dialer.Dial(ctx)
	if err != nil {
		s.refusePostgres(ctx, opened, err)
		return
	}
	s.openPostgres(ctx, opened, remote, first)
}

// openPostgres sends the client's first message and carries the rest. A CancelRequest has no answer but the end: it was dialled
// as the connection it is about, and the route leads both to the same server.
func (s *Server) openPostgres(ctx context.Context, conn, remote net.Conn, first []byte) {
	_, err := remote.Write(first)
	if err == nil && code(first) == cancelRequest {
		s.join(ctx, conn, remote)
		return
	}
	var answer []byte
	if err == nil {
		answer, err = firstAnswer(ctx, remote)
	}
	if err != nil {
		remote.Close()
		s.refusePostgres(ctx, conn, err)
		return
	}
	s.answered(ctx, conn, remote, answer)
}

// errNotPostgres is an opening that no PostgreSQL client sends.
var errNotPostgres = errors.New("not a PostgreSQL startup message")

// opening reads what a PostgreSQL client sends first and deals with its encryption: it is asked for, or since version 17 begins at
// once (sslnegotiation=direct). opened is conn, or the TLS session on it; first is the StartupMessage or CancelRequest, whole. Not
// a byte more is read, and none before TLS counts as said under it (CVE-2021-23214).
func (s *Server) opening(ctx context.Context, conn net.Conn) (opened net.Conn, first []byte, err error) {
	release := bound(ctx, conn, openingTime)
	defer release()
	begin := make([]byte, 1)
	if _, err := io.ReadFull(conn, begin); err != nil {
		return conn, nil, err
	}
	unread := io.MultiReader(bytes.NewReader(begin), conn)
	if begin[0] == tlsHandshake {
		return s.directTLS(conn, unread)
	}
	opened = conn
	for range maxEncryption + 1 {
		if first, err = readStartup(unread); err != nil {
			return conn, nil, err
		}
		answer := byte('N')
		switch code(first) {
		case gssEncRequest:
		case sslRequest:
			if s.LocalTLS != nil && opened == conn {
				answer = 'S'
			}
		default:
			return opened, first, nil
		}
		if _, err = opened.Write([]byte{answer}); err != nil {
			return conn, nil, fmt.Errorf("answer to encryption request: %w", err)
		}
		if answer == 'S' {
			opened = s.startTLS(conn, postgresALPN)
		}
		unread = opened
	}
	return conn, nil, fmt.Errorf("%w: encryption asked for %d times", errNotPostgres, maxEncryption+1)
}

// directTLS reads the first message of a client that has begun with TLS; unread is conn from its first byte. Without ALPN it is
// refused, as PostgreSQL does: whoever sends a stray ClientHello here does not mean a database.
func (s *Server) directTLS(conn net.Conn, unread io.Reader) (net.Conn, []byte, error) {
	if s.LocalTLS == nil {
		return conn, nil, errors.New("the client begins with TLS, and there is no local certificate")
	}
	opened := s.startTLS(&reread{conn, unread}, postgresALPN)
	if err := opened.Handshake(); err != nil { // bounded by the deadline on conn
		return conn, nil, fmt.Errorf("direct TLS: %w", err)
	}
	if opened.ConnectionState().NegotiatedProtocol != postgresALPN {
		return conn, nil, fmt.Errorf("%w: direct TLS without ALPN %q", errNotPostgres, postgresALPN)
	}
	first, err := readStartup(opened)
	if err != nil {
		return conn, nil, err
	}
	return opened, first, nil
}

// readStartup reads one message of the kind that has a length and no type.
func readStartup(conn io.Reader) ([]byte, error) {
	message := make([]byte, 8)
	if n, err := io.ReadFull(conn, message); err != nil {
		if n == 0 {
			return nil, err
		}
		return nil, fmt.Errorf("startup message: %w", err)
	}
	n := binary.BigEndian.Uint32(message)
	if n < 8 || n > maxStartup {
		return nil, fmt.Errorf("%w: it begins with % x", errNotPostgres, message)
	}
	message = append(message, make([]byte, n-8)...)
	if _, err := io.ReadFull(conn, message[8:]); err != nil {
		return nil, fmt.Errorf("startup message: %w", err)
	}
	return message, nil
}

// code is the word behind the length: a request code or a protocol version.
func code(startup []byte) uint32 { return binary.BigEndian.Uint32(startup[4:8]) }

// noOpening tells of a client that opened as none does. One that came and went, as port scanners and connection pools do, has
// done nothing wrong.
func (s *Server) noOpening(ctx context.Context, err error) {
	if !errors.Is(err, io.EOF) {
		s.failed(ctx, fmt.Errorf("local client: %w", err))
	}
}

func (s *Server) refusePostgres(ctx context.Context, conn net.Conn, err error) {
	s.failed(ctx, err)
	_, _ = conn.Write(postgresError("tlsroute-bench: " + err.Error())) // the client may have left
	_ = splice.CloseWrite(conn)
}

// postgresError is an ErrorResponse: FATAL, connection_failure.
func postgresError(message string) []byte {
	p := []byte{'E', 0, 0, 0, 0}
	for _, field := range []string{"SFATAL", "VFATAL", "C08006", "M" + message} {
		p = append(append(p, field...), 0)
	}
	p = append(p, 0)
	binary.BigEndian.PutUint32(p[1:], uint32(len(p)-1))
	return p
}
