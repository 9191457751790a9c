package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// A MySQL server speaks first, in plaintext, and its greeting says whether it can do TLS. Where it cannot, the local port can:
//
//	client                       proxy                            server
//	seq 0 ◀── with CLIENT_SSL    ◀──────────── without CLIENT_SSL greeting
//	seq 1 SSLRequest ──────────▶
//	═════════ TLS ══════════════
//	seq 2 handshake response ──▶ without CLIENT_SSL, less one ──▶ seq 1
//	seq 3 ◀─────────────────────  plus one ◀───────────────────── seq 2
//	seq 4 ──────────────────────▶ less one ─────────────────────▶ seq 3
//	OK or ERR, and from then on every command counts from 0 by itself
//
// A client that wants no TLS answers with its handshake response at once, seq 1, and nothing else changes. Where the server can do
// TLS by itself, nothing changes at all: the client's TLS ends there, whose certificate it knows, and an account may REQUIRE it.
//
// What cannot be put right: a client under TLS sends the password itself for a full caching_sha2_password login, and a server
// that saw none wants it encrypted. Behind a router that does STARTTLS to the server, both see TLS, and the login succeeds.
//
// Sources: MySQL "Connection Phase", "Protocol::HandshakeV10", "Protocol::SSLRequest".
const (
	mysqlHead       = 4       // three bytes of length, one of sequence
	mysqlFlags      = 4       // what a handshake response begins with
	mysqlSSLBody    = 32      // an SSLRequest: flags 4, packet size 4, character set 1, filler 23. A handshake response is longer
	mysqlProtocol41 = 0x200   // in the flags
	mysqlClientSSL  = 0x800   // the same
	mysqlProtocol   = 10      // the first byte of a greeting since MySQL 3.21
	maxGreeting     = 4 << 10 // MariaDB 10.11 sends 104 bytes; the version in it has no fixed length
)

func mysqlLength(head []byte) int { return int(head[0]) | int(head[1])<<8 | int(head[2])<<16 }

// mysql serves a MySQL client: the server greets. A failure takes the greeting's place.
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
	s.greeted(ctx, conn, remote, greeting)
}

// greeted serves a client whose server has spoken first.
func (s *Server) greeted(ctx context.Context, conn, remote net.Conn, first []byte) {
	if s.LocalTLS == nil {
		s.answered(ctx, conn, remote, first)
		return
	}
	first, err := wholeGreeting(ctx, remote, first)
	if err != nil {
		remote.Close()
		s.refuseMySQL(ctx, conn, err)
		return
	}
	if !offerTLS(first) {
		s.answered(ctx, conn, remote, first)
		return
	}
	local, response, err := s.openMySQL(ctx, conn, first)
	if err != nil {
		s.noOpening(ctx, err)
		remote.Close()
		return
	}
	_, _ = remote.Write(response) // a failure shows in the tunnel
	s.join(ctx, local, remote)
}

// wholeGreeting reads on until the greeting that begins in first is whole. What is no greeting stays as it is.
func wholeGreeting(ctx context.Context, remote net.Conn, first []byte) ([]byte, error) {
	release := bound(ctx, remote, answerTime)
	defer release()
	for mayGreet(first) && (len(first) < mysqlHead || len(first) < mysqlHead+mysqlLength(first)) {
		more := make([]byte, maxGreeting)
		n, err := remote.Read(more)
		if n == 0 && err != nil {
			return nil, fmt.Errorf("read the MySQL greeting: %w", err)
		}
		first = append(first, more[:n]...)
	}
	return first, nil
}

// mayGreet tells whether a greeting may begin so.
func mayGreet(b []byte) bool {
	switch {
	case len(b) < mysqlHead:
		return true
	case mysqlLength(b) == 0 || mysqlLength(b) > maxGreeting || b[3] != 0:
		return false
	}
	return len(b) == mysqlHead || b[mysqlHead] == mysqlProtocol
}

// offerTLS puts CLIENT_SSL into a greeting that is without, and tells whether it did.
func offerTLS(greeting []byte) bool {
	if len(greeting) <= mysqlHead || !mayGreet(greeting) {
		return false
	}
	body := greeting[mysqlHead:]
	end := bytes.IndexByte(body, 0) // of the server's version
	const toFlags = 1 + 4 + 8 + 1   // NUL, thread, first part of the nonce, filler
	if end < 0 || len(body) < end+toFlags+2 {
		return false
	}
	flags := body[end+toFlags:] // the lower two bytes
	value := binary.LittleEndian.Uint16(flags)
	binary.LittleEndian.PutUint16(flags, value|mysqlClientSSL)
	return value&mysqlClientSSL == 0
}

// openMySQL sends the greeting, with CLIENT_SSL, and reads what the client begins with. local is conn, or the TLS session on it; response
// is for the server. Of a client without TLS it is as much as tells that.
func (s *Server) openMySQL(ctx context.Context, conn net.Conn, greeting []byte) (local net.Conn, response []byte, err error) {
	release := bound(ctx, conn, openingTime)
	defer release()
	if _, err := conn.Write(greeting); err != nil {
		return nil, nil, fmt.Errorf("send the MySQL greeting: %w", err)
	}
	request, err := readMySQL(conn, mysqlSSLBody)
	if err != nil {
		return nil, nil, err
	}
	const asks = mysqlProtocol41 | mysqlClientSSL // before 4.1 there were two bytes of flags, and there is no TLS for such here
	if mysqlLength(request) != mysqlSSLBody || request[3] != 1 || binary.LittleEndian.Uint32(request[mysqlHead:])&asks != asks {
		return conn, request, nil
	}
	secure := s.startTLS(conn)
	if response, err = readMySQL(secure, mysqlFlags); err != nil {
		return nil, nil, fmt.Errorf("under TLS: %w", err)
	}
	if mysqlLength(response) <= mysqlSSLBody || response[3] != 2 {
		return nil, nil, errors.New("under TLS: not a MySQL handshake response")
	}
	response[3]--
	flags := response[mysqlHead:]
	binary.LittleEndian.PutUint32(flags, binary.LittleEndian.Uint32(flags)&^mysqlClientSSL) // or it would be an SSLRequest
	return &countedMySQL{Conn: secure, in: packets{left: mysqlLength(response) - mysqlFlags}, out: packets{server: true}}, response, nil
}

// readMySQL reads a packet's head, and of its payload most bytes.
func readMySQL(conn io.Reader, most int) ([]byte, error) {
	packet := make([]byte, mysqlHead, mysqlHead+most)
	n, err := io.ReadFull(conn, packet)
	if err == nil {
		packet = packet[:mysqlHead+min(most, mysqlLength(packet))]
		if _, err = io.ReadFull(conn, packet[mysqlHead:]); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // behind the head it is one
		}
	}
	if err != nil && n > 0 {
		return nil, fmt.Errorf("MySQL handshake response: %w", err)
	}
	return packet, err
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
