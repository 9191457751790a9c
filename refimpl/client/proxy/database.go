package proxy

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"time"
)

// database serves one connection of a database client. Which protocol it is, the route's ALPN says; else who speaks first does.
func (s *Server) database(ctx context.Context, conn net.Conn) {
	switch protocol(s.Dialer.ALPN) {
	case "postgres":
		s.postgres(ctx, conn)
	case "mysql":
		s.mysql(ctx, conn)
	default:
		s.whoeverSpeaks(ctx, conn)
	}
}

// protocol finds the database protocol in the names of a route ("teleport-postgres-ping", "postgresql", "teleport-mysql-OC4w"), or
// returns "".
func protocol(alpn []string) string {
	for _, name := range alpn {
		name = strings.TrimPrefix(name, "teleport-")
		switch {
		case strings.HasPrefix(name, "postgres"):
			return "postgres"
		case strings.HasPrefix(name, "mysql"), strings.HasPrefix(name, "mariadb"):
			return "mysql"
		}
	}
	return ""
}

// mysql passes the bytes: the server greets. A failure takes the greeting's place.
func (s *Server) mysql(ctx context.Context, conn net.Conn) {
	remote, err := s.Dialer.Dial(ctx)
	if err != nil {
		s.refuseMySQL(ctx, conn, err)
		return
	}
	greeting, err := firstAnswer(ctx, remote)
	if err != nil {
		remote.Close()
		s.refuseMySQL(ctx, conn, err)
		return
	}
	s.answered(ctx, conn, remote, greeting)
}

// answered hands the service's first bytes over and joins the two. A client that cannot take them shows in the tunnel.
func (s *Server) answered(ctx context.Context, conn net.Conn, remote net.Conn, first []byte) {
	_, _ = conn.Write(first)
	s.join(ctx, conn, remote)
}

func (s *Server) refuseMySQL(ctx context.Context, conn net.Conn, err error) {
	s.failed(ctx, err)
	_, _ = conn.Write(mysqlError("tlsroute-bench: " + err.Error())) // the client may have left
}

// mysqlError is an ERR_Packet with ER_UNKNOWN_ERROR. In place of the greeting it has no SQL state, since no capabilities have
// been agreed on.
func mysqlError(message string) []byte {
	const code, most = 1105, 512 // MYSQL_ERRMSG_SIZE
	message = clip(message, most)
	p := []byte{0, 0, 0, 0, 0xff}
	p = binary.LittleEndian.AppendUint16(p, code)
	p = append(p, message...)
	p[0], p[1] = byte(len(p)-4), byte((len(p)-4)>>8) // bytes behind the header; the packet's number is 0
	return p
}

// clip cuts s to a number of bytes, not inside a character.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// whoeverSpeaks dials at once and waits for both: a PostgreSQL client opens, a MySQL server greets.
func (s *Server) whoeverSpeaks(ctx context.Context, conn net.Conn) {
	remote, err := s.Dialer.Dial(ctx)
	if err != nil {
		short, cancel := context.WithTimeout(ctx, whichProtocol)
		defer cancel()
		if opened, _, openErr := s.opening(short, conn); openErr == nil {
			s.refusePostgres(ctx, opened, err)
		} else {
			s.refuseMySQL(ctx, conn, err)
		}
		return
	}
	reading, stopReading := context.WithCancel(ctx)
	waiting, stopWaiting := context.WithCancel(ctx)
	defer stopReading()
	var greeting []byte
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if greeting, err = firstAnswer(waiting, remote); err != nil {
			select { // it is gone: the client has a moment to show in what words to tell it
			case <-time.After(whichProtocol):
			case <-waiting.Done():
				return
			}
		}
		stopReading()
	}()
	opened, first, openErr := s.opening(reading, conn)
	stopWaiting()
	<-answered
	switch {
	case greeting != nil:
		_, _ = remote.Write(first) // nothing, unless both spoke; a failure shows in the tunnel
		s.answered(ctx, opened, remote, greeting)
	case openErr == nil:
		s.openPostgres(ctx, opened, remote, first)
	case reading.Err() != nil && ctx.Err() == nil:
		remote.Close()
		s.refuseMySQL(ctx, conn, err)
	default:
		remote.Close()
		s.noOpening(ctx, openErr)
	}
}
