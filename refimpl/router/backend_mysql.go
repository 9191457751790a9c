package router

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// A MySQL server speaks first, and in plaintext. A client behind the router is inside TLS already and knows nothing of the session
// between router and server, so the router takes its part in three places:
//
//	server                    router                       client
//	greeting, CLIENT_SSL ──▶  without CLIENT_SSL ─────────▶           seq 0
//	  seq 1 ◀─ SSLRequest     ◀───────── handshake response           seq 1
//	  ═════════ TLS ══════════
//	  seq 2 ◀─ handshake response, with CLIENT_SSL
//	seq 3 ──────────────────▶  less one                   ─▶          seq 2
//	  seq 4 ◀─ plus one        ◀──────────────────────────            seq 3
//	OK or ERR, and from then on every command counts from 0 by itself
//
// The SSLRequest is made of the client's own words, since servers take flags, packet size and character set from there and do not
// look at them again under TLS (MySQL, sql_authentication.cc, parse_client_handshake_packet). MariaDB keeps flags in the filler.
//
// What cannot be put right: the server thinks that the client sees the TLS. A full caching_sha2_password login then wants the
// password itself, where a client that sees none asks for an RSA key, and access is denied. Its cached login, and plugins that
// do not ask what the connection is, are not affected.
const (
	mysqlHead       = 4       // three bytes of length, one of sequence
	mysqlFixed      = 32      // of a handshake response: flags 4, packet size 4, character set 1, filler 23
	maxGreeting     = 4 << 10 // MariaDB 10.11 sends 104 bytes; the version in it has no fixed length
	mysqlProtocol41 = 0x200
	mysqlClientSSL  = 0x800
)

func mysqlLength(head []byte) int { return int(head[0]) | int(head[1])<<8 | int(head[2])<<16 }

// readGreeting reads the server's first packet and takes CLIENT_SSL out of it.
func readGreeting(conn io.Reader) ([]byte, error) {
	packet := make([]byte, mysqlHead)
	if _, err := io.ReadFull(conn, packet); err != nil {
		return nil, fmt.Errorf("read the MySQL greeting: %w", err)
	}
	n := mysqlLength(packet)
	if n == 0 || n > maxGreeting || packet[3] != 0 {
		return nil, fmt.Errorf("MySQL greeting: the server began with %x", packet)
	}
	packet = append(packet, make([]byte, n)...)
	if _, err := io.ReadFull(conn, packet[mysqlHead:]); err != nil {
		return nil, fmt.Errorf("read the MySQL greeting: %w", err)
	}
	body := packet[mysqlHead:]
	switch {
	case body[0] == 0xff && n > 3:
		return nil, fmt.Errorf("MySQL greeting: error %d: %q", binary.LittleEndian.Uint16(body[1:]), body[3:])
	case body[0] != 10:
		return nil, fmt.Errorf("MySQL greeting: protocol %d is not 10", body[0])
	}
	end := bytes.IndexByte(body, 0) // of the server's version
	const toFlags = 1 + 4 + 8 + 1   // NUL, thread, first part of the nonce, filler
	if end < 0 || len(body) < end+toFlags+2 {
		return nil, errors.New("MySQL greeting: ends before the flags")
	}
	flags := body[end+toFlags:] // the lower two bytes
	value := binary.LittleEndian.Uint16(flags)
	if value&mysqlClientSSL == 0 {
		return nil, errors.New("MySQL greeting: the server does not offer TLS")
	}
	binary.LittleEndian.PutUint16(flags, value&^mysqlClientSSL)
	return packet, nil
}

// startMySQL passes the greeting on, and starts TLS once the client has answered it. It closes the backend when that fails.
func (c *session) startMySQL(u *upstream, a *address, o opened, client net.Conn) (net.Conn, error) {
	head, err := greet(client, o.greeting, c.timeout())
	if err != nil {
		o.conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.server.cutCtx, time.Duration(u.DialTimeout))
	defer cancel()
	tcp, ready := o.conn, (*mysqlConn)(nil)
	err = bounded(ctx, tcp, func() error {
		n := mysqlLength(head)
		binary.LittleEndian.PutUint32(head[mysqlHead:], binary.LittleEndian.Uint32(head[mysqlHead:])|mysqlClientSSL)
		request := append([]byte{mysqlFixed, 0, 0, 1}, head[mysqlHead:]...)
		if _, err := tcp.Write(request); err != nil {
			return fmt.Errorf("send SSLRequest: %w", err)
		}
		secure, err := c.secureBackend(ctx, u, a, tcp, "")
		if err != nil {
			return err
		}
		ready = &mysqlConn{Conn: secure, in: packets{server: true}, out: packets{have: mysqlHead, left: n - mysqlFixed}}
		head[3]++
		if _, err := secure.Write(head); err != nil {
			return fmt.Errorf("send handshake response: %w", err)
		}
		return nil
	})
	if err != nil {
		tcp.Close()
		return nil, fmt.Errorf("backend %s: %w", a.hostport, err)
	}
	return ready, nil
}

// greet sends the greeting and reads the fixed part of the answer with its packet's head.
func greet(client net.Conn, greeting []byte, timeout time.Duration) ([]byte, error) {
	client.SetDeadline(time.Now().Add(timeout))
	defer client.SetDeadline(time.Time{})
	if _, err := client.Write(greeting); err != nil {
		return nil, fmt.Errorf("send the MySQL greeting to the client: %w", err)
	}
	head := make([]byte, mysqlHead+mysqlFixed)
	if _, err := io.ReadFull(client, head); err != nil {
		return nil, fmt.Errorf("read the client's MySQL handshake response: %w", err)
	}
	flags := binary.LittleEndian.Uint32(head[mysqlHead:])
	switch {
	case mysqlLength(head) < mysqlFixed || head[3] != 1 || flags&mysqlProtocol41 == 0:
		return nil, errors.New("MySQL handshake response: not of protocol 4.1")
	case flags&mysqlClientSSL != 0:
		return nil, errors.New("MySQL handshake response: the client asks for TLS, which was not offered inside TLS")
	}
	return head, nil
}

// mysqlConn is a server whose packets count one more than the client knows, until it has said OK or ERR.
type mysqlConn struct {
	net.Conn // under TLS
	in, out  packets
	over     atomic.Bool // the login; a client sends no command before it has read the OK
}

// Unwrap shows the layer below.
func (m *mysqlConn) Unwrap() net.Conn { return m.Conn }

func (m *mysqlConn) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if !m.over.Load() && m.in.shift(p[:n], 0xff) {
		m.over.Store(true)
	}
	return n, err
}

func (m *mysqlConn) Write(p []byte) (int, error) {
	if !m.over.Load() {
		p = bytes.Clone(p) // a writer leaves what it is given alone
		m.out.shift(p, 1)
	}
	return m.Conn.Write(p)
}

// packets follows a stream of packets through any cuts.
type packets struct {
	server bool // its OK and ERR are looked for
	have   int  // bytes of the head
	left   int  // bytes of the payload, known to the extent of have
	first  bool // the next byte is the payload's first
}

// shift adds by, modulo 256, to the sequence number of each packet in b, up to the server's OK or ERR; it tells whether that came.
func (s *packets) shift(b []byte, by byte) (over bool) {
	for len(b) > 0 {
		if s.have == mysqlHead && s.left == 0 {
			s.have = 0
		}
		if s.have < mysqlHead {
			if s.have < mysqlHead-1 {
				s.left |= int(b[0]) << (8 * s.have)
			} else {
				b[0] += by
				s.first = true
			}
			s.have++
			b = b[1:]
			continue
		}
		if s.first && s.server && (b[0] == 0x00 || b[0] == 0xff) {
			return true
		}
		s.first = false
		n := min(s.left, len(b))
		s.left -= n
		b = b[n:]
	}
	return false
}
