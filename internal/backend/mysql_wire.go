package backend

import (
	"bufio"
	"crypto/sha1"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// The framing of the MySQL client/server protocol and the scramble of its old password plugin, for the embedded server. https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html

// maxMySQLPacket bounds a packet; longer ones are refused, so the continuation packets of 16 MiB never come up.
const maxMySQLPacket = 4 << 20

// Capability flags, as far as they are used here.
const (
	mysqlLongPassword   = 1 << 0
	mysqlConnectWithDB  = 1 << 3
	mysqlProtocol41     = 1 << 9
	mysqlTLS            = 1 << 11
	mysqlTransactions   = 1 << 13
	mysqlSecure         = 1 << 15
	mysqlPluginAuth     = 1 << 19
	mysqlLenencAuthData = 1 << 21
)

const (
	mysqlNativePassword  = "mysql_native_password"
	mysqlCachingPassword = "caching_sha2_password"
)

var errMySQLTooLong = errors.New("packet too long")

// mysqlConn reads and writes packets. Writes are gathered until flush.
type mysqlConn struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	seq  byte // of the next packet; each command begins anew at 0
	err  error

	// The server's prepared statements by their number.
	statements    map[uint32]bool
	lastStatement uint32
}

func newMySQLConn(c net.Conn) *mysqlConn {
	return &mysqlConn{conn: c, r: bufio.NewReader(&idleConn{c, idleTimeout}), w: bufio.NewWriterSize(c, 16<<10)}
}

// startTLS goes on under TLS. A client does not wait with its ClientHello, which may be read already.
func (c *mysqlConn) startTLS(config *tls.Config) error {
	secure := tls.Server(&readConn{Conn: c.conn, r: c.r}, config)
	if err := secure.Handshake(); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.conn, c.r, c.w = secure, bufio.NewReader(secure), bufio.NewWriterSize(secure, 16<<10)
	return nil
}

// readConn is a connection of which something has been read.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c *readConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// read returns the next packet, its own to keep.
func (c *mysqlConn) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil, err
	}
	size := int(head[0]) | int(head[1])<<8 | int(head[2])<<16
	if size > maxMySQLPacket {
		return nil, errMySQLTooLong
	}
	if head[3] != c.seq {
		return nil, fmt.Errorf("packet %d came where %d was due", head[3], c.seq)
	}
	c.seq++
	body := make([]byte, size)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, fmt.Errorf("read packet: %w", err)
	}
	return body, nil
}

// write adds a packet; an error is kept for flush.
func (c *mysqlConn) write(body []byte) {
	if len(body) >= 1<<24-1 {
		c.err = errMySQLTooLong
		return
	}
	head := []byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), c.seq}
	c.seq++
	if _, err := c.w.Write(head); err == nil {
		_, _ = c.w.Write(body) // bufio keeps the error for Flush
	}
}

func (c *mysqlConn) flush() error {
	if c.err != nil {
		return c.err
	}
	return c.w.Flush()
}

// mysqlReader takes a packet apart. After an overrun bad is set and all values are empty.
type mysqlReader struct {
	b   []byte
	bad bool
}

func (r *mysqlReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.bad = nil, true
		return make([]byte, min(max(n, 0), 32))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *mysqlReader) byte() byte     { return r.take(1)[0] }
func (r *mysqlReader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

// text reads up to a NUL.
func (r *mysqlReader) text() string {
	for i, c := range r.b {
		if c == 0 {
			s := string(r.b[:i])
			r.b = r.b[i+1:]
			return s
		}
	}
	r.bad = true
	s := string(r.b)
	r.b = nil
	return s
}

// lenenc reads a length-encoded integer; null is the 0xfb of a row.
func (r *mysqlReader) lenenc() (n uint64, null bool) {
	switch first := r.byte(); first {
	case 0xfb:
		return 0, true
	case 0xfc:
		return uint64(binary.LittleEndian.Uint16(r.take(2))), false
	case 0xfd:
		b := r.take(3)
		return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16, false
	case 0xfe:
		return binary.LittleEndian.Uint64(r.take(8)), false
	default:
		return uint64(first), false
	}
}

// string reads a length-encoded string; NULL is "".
func (r *mysqlReader) string() string {
	n, null := r.lenenc()
	if null {
		return ""
	}
	return string(r.take(int(min(n, uint64(len(r.b))+1))))
}

// appendLenenc appends a length-encoded string.
func appendLenenc(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 0xfb:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 0xfc, byte(n), byte(n>>8))
	default:
		b = append(b, 0xfd, byte(n), byte(n>>8), byte(n>>16))
	}
	return append(b, s...)
}

// scrambleNative is what mysql_native_password sends for a password: SHA1(p) XOR SHA1(nonce + SHA1(SHA1(p))).
func scrambleNative(password string, nonce []byte) []byte {
	hash := sha1.Sum([]byte(password))
	stored := sha1.Sum(hash[:])
	h := sha1.New()
	h.Write(nonce)
	h.Write(stored[:])
	out := make([]byte, sha1.Size)
	subtle.XORBytes(out, hash[:], h.Sum(nil))
	return out
}
