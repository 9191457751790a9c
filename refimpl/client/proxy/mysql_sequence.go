package proxy

import (
	"bytes"
	"net"
	"sync/atomic"
)

// countedMySQL is a client whose packets count one more than the server knows, until the server has said OK or ERR.
type countedMySQL struct {
	net.Conn // under TLS
	in, out  packets
	over     atomic.Bool // the login; a client sends no command before it has read the OK
}

// Unwrap shows the layer below.
func (c *countedMySQL) Unwrap() net.Conn { return c.Conn }

func (c *countedMySQL) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.over.Load() {
		c.in.count(p[:n], -1)
	}
	return n, err
}

func (c *countedMySQL) Write(p []byte) (int, error) {
	if !c.over.Load() {
		p = bytes.Clone(p) // a writer leaves what it is given alone
		if c.out.count(p, +1) {
			c.over.Store(true)
		}
	}
	return c.Conn.Write(p)
}

// packets follows a stream of packets through any cuts.
type packets struct {
	server bool   // its OK and ERR are looked for
	head   []byte // of the next packet, as far as it has come
	left   int    // bytes of the payload before it
}

// count adds by to the number of each packet that begins in b, up to and with the server's OK or ERR; it tells whether that came. What
// else a server says in a login begins as neither: a plugin's data have a 1 before them where they would.
func (s *packets) count(b []byte, by int8) (over bool) {
	for len(b) > 0 {
		if s.left > 0 {
			if begins := len(s.head) == mysqlHead; begins && s.server && (b[0] == 0x00 || b[0] == 0xff) {
				return true
			}
			s.head = s.head[:0]
			n := min(s.left, len(b))
			s.left -= n
			b = b[n:]
			continue
		}
		if len(s.head) == mysqlHead { // of an empty packet
			s.head = s.head[:0]
		}
		if s.head = append(s.head, b[0]); len(s.head) == mysqlHead {
			s.left = mysqlLength(s.head)
			b[0] += byte(by)
		}
		b = b[1:]
	}
	return false
}
