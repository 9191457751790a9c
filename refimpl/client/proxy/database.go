package proxy

import (
	"context"
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

// answered hands the service's first bytes over and joins the two. A client that cannot take them shows in the tunnel.
func (s *Server) answered(ctx context.Context, conn net.Conn, remote net.Conn, first []byte) {
	_, _ = conn.Write(first)
	s.join(ctx, conn, remote)
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
	case greeting != nil && openErr == nil: // both spoke
		_, _ = remote.Write(first) // a failure shows in the tunnel
		s.answered(ctx, opened, remote, greeting)
	case greeting != nil:
		s.greeted(ctx, conn, remote, greeting)
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
