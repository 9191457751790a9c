package sourceaddr

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a connection from peer that plays bytes in pieces and then ends.
type script struct {
	net.Conn
	peer     net.Addr
	in       []byte
	piece    int
	err      error // nil = io.EOF
	reads    int
	deadline time.Time
}

func (s *script) RemoteAddr() net.Addr              { return s.peer }
func (s *script) LocalAddr() net.Addr               { return tcpAddr("127.0.0.1:443") }
func (s *script) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *script) Read(p []byte) (int, error) {
	s.reads++
	if len(s.in) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := len(s.in)
	if s.piece > 0 {
		n = min(n, s.piece)
	}
	n = copy(p, s.in[:n])
	s.in = s.in[n:]
	return n, nil
}

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// v2 builds a header: version and command, family, addresses.
func v2(command, family byte, block string) string {
	return v2Signature + string([]byte{0x20 | command, family, byte(len(block) >> 8), byte(len(block))}) + block
}

const (
	block4 = "\xc0\x00\x02\x07\x0a\x00\x00\x01\x12\x67\x01\xbb" // 192.0.2.7:4711 -> 10.0.0.1:443
	hello  = "\x16\x03\x01\x00\x05hello"
)

var block6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + strings.Repeat("\x00", 15) + "\x01" + "\x12\x67\x01\xbb"

func TestReadProxyTakesAHeaderOfATrustedPeer(t *testing.T) {
	for _, c := range []struct{ name, header, want string }{
		{"v1 TCP4", "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", "192.0.2.7:4711"},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711"},
		{"v1 TCP6, mapped", "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 4711 443\r\n", "192.0.2.7:4711"},
		{"v1 UNKNOWN keeps the real endpoint", "PROXY UNKNOWN\r\n", "127.0.0.1:1"},
		{"v1 UNKNOWN with more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1:1"},
		{"v2 TCP4", v2(1, 0x11, block4), "192.0.2.7:4711"},
		{"v2 TCP6", v2(1, 0x21, block6), "[2001:db8::7]:4711"},
		{"v2 with TLVs, an unknown one too", v2(1, 0x11, block4+"\x02\x00\x06a.test\xef\x00\x01x"), "192.0.2.7:4711"},
		{"v2 LOCAL keeps the real endpoint", v2(0, 0x00, ""), "127.0.0.1:1"},
		{"v2 LOCAL with a false address", v2(0, 0x11, block4), "127.0.0.1:1"},
		{"v2 LOCAL with a block to skip", v2(0, 0x00, "anything at all"), "127.0.0.1:1"},
		{"v2 UNSPEC keeps the real endpoint", v2(1, 0x00, ""), "127.0.0.1:1"},
		{"v2 UNSPEC with TLVs", v2(1, 0x00, "\x02\x00\x06a.test"), "127.0.0.1:1"},
		{"v2 with SSL and CRC TLVs", v2(1, 0x21, block6+"\x20\x00\x05\x01\x00\x00\x00\x00\x03\x00\x04\x5e\x80\xa2\x89"), "[2001:db8::7]:4711"},
		{"v2 with a TLV that is cut off", v2(1, 0x11, block4+"\x02\x00\x99a"), "192.0.2.7:4711"},
		{"v2 UNIX keeps the real endpoint", v2(1, 0x31, strings.Repeat("p", 216)), "127.0.0.1:1"},
		{"v2 as large as is taken", v2(1, 0x11, block4+"\xef\x0f\xf1"+strings.Repeat("x", 4096-12-3)), "192.0.2.7:4711"},
	} {
		for _, mode := range []Mode{Optional, Required} {
			for _, piece := range []int{0, 1, 5, 13} {
				t.Run(fmt.Sprintf("%s, %s, pieces of %d", c.name, mode, piece), func(t *testing.T) {
					conn := &script{peer: tcpAddr("127.0.0.1:1"), in: []byte(c.header + hello), piece: piece}
					got, ends, err := ReadProxy(conn, Policy{Mode: mode, Trusted: prefixes(t, "127.0.0.0/8")})
					if err != nil {
						t.Fatal(err)
					}
					if ends.Source.String() != c.want {
						t.Errorf("source %v, want %v", ends.Source, c.want)
					}
					if real := c.want == "127.0.0.1:1"; real != (ends.Destination.String() == "127.0.0.1:443") {
						t.Errorf("source %v with destination %v: both are told, or neither", ends.Source, ends.Destination)
					}
					if rest, err := io.ReadAll(got); err != nil || string(rest) != hello {
						t.Errorf("behind the header: %q, %v", rest, err)
					}
					if !conn.deadline.IsZero() {
						t.Error("the deadline stays set")
					}
				})
			}
		}
	}
}

func TestReadProxyHonoursAHeaderOnlyWhereItIsConfigured(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
	for _, c := range []struct {
		name, peer, in string
		mode           Mode
		want           string
		err            error
		rest           string
	}{
		{"off, trusted, header", "127.0.0.1:1", header + hello, Off, "127.0.0.1:1", nil, header + hello},
		{"the zero mode is off", "127.0.0.1:1", header + hello, "", "127.0.0.1:1", nil, header + hello},
		{"optional, trusted, header", "127.0.0.1:1", header + hello, Optional, "192.0.2.7:4711", nil, hello},
		{"optional, trusted, none", "127.0.0.1:1", hello, Optional, "127.0.0.1:1", nil, hello},
		{
			"optional, trusted, something like one", "127.0.0.1:1", "PROPFIND / HTTP/1.1\r\n", Optional, "127.0.0.1:1", nil,
			"PROPFIND / HTTP/1.1\r\n",
		},
		{"optional, untrusted, header", "192.0.2.9:1", header + hello, Optional, "192.0.2.9:1", nil, header + hello},
		{"optional, untrusted, none", "192.0.2.9:1", hello, Optional, "192.0.2.9:1", nil, hello},
		{"required, trusted, header", "127.0.0.1:1", header + hello, Required, "192.0.2.7:4711", nil, hello},
		{"required, trusted, none", "127.0.0.1:1", hello, Required, "127.0.0.1:1", ErrNoHeader, hello},
		{"required, untrusted, header", "192.0.2.9:1", header + hello, Required, "192.0.2.9:1", ErrUntrusted, header + hello},
		{"mapped peer", "[::ffff:127.0.0.1]:1", header + hello, Required, "192.0.2.7:4711", nil, hello},
		{"mapped peer, no header", "[::ffff:127.0.0.1]:1", hello, Optional, "127.0.0.1:1", nil, hello},
		{"mapped untrusted peer", "[::ffff:192.0.2.9]:1", header + hello, Optional, "192.0.2.9:1", nil, header + hello},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &script{peer: tcpAddr(c.peer), in: []byte(c.in)}
			got, ends, err := ReadProxy(conn, Policy{Mode: c.mode, Trusted: prefixes(t, "127.0.0.0/8")})
			if !errors.Is(err, c.err) || ends.Source.String() != c.want {
				t.Errorf("source %v, error %v; want %v, %v", ends.Source, err, c.want, c.err)
			}
			if rest, err := io.ReadAll(got); err != nil || string(rest) != c.rest {
				t.Errorf("left in the stream: %q, %v", rest, err)
			}
		})
	}
}

func TestReadProxyTouchesNothingOfAnUntrustedPeer(t *testing.T) {
	conn := &script{peer: tcpAddr("192.0.2.9:1"), in: []byte(hello)}
	got, _, err := ReadProxy(conn, Policy{Mode: Optional, Trusted: nil})
	if err != nil || got != net.Conn(conn) || conn.reads != 0 {
		t.Errorf("%T after %d reads, %v", got, conn.reads, err)
	}
}

func TestReadProxyRefusesMalformedHeaders(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     error
	}{
		{"v1 without an end", "PROXY TCP4 " + strings.Repeat("1", 200), ErrMalformed},
		{"v1 of 108 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", ErrMalformed},
		{"v1 with LF alone", "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n", ErrMalformed},
		{"v1 with words missing", "PROXY TCP4 192.0.2.7\r\n", ErrMalformed},
		{"v1 with a word too many", "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 x\r\n", ErrMalformed},
		{"v1 with a bad address", "PROXY TCP4 192.0.2.777 10.0.0.1 4711 443\r\n", ErrMalformed},
		{"v1 with a bad port", "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", ErrMalformed},
		{"v1 of another family", "PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n", ErrMalformed},
		{"v2 of version 3", strings.Replace(v2(1, 0x11, block4), "\x21", "\x31", 1), ErrMalformed},
		{"v2 with an unknown command", v2(2, 0x11, block4), ErrMalformed},
		{"v2 with an unknown family", v2(1, 0x41, block4), ErrMalformed},
		{"v2 with a short block", v2(1, 0x11, block4[:8]), ErrMalformed},
		{"v2 larger than is taken", v2(1, 0x11, block4+strings.Repeat("x", 4096)), ErrMalformed},
		{"v1 cut off", "PROXY TCP4 192", io.ErrUnexpectedEOF},
		{"v2 cut off", v2(1, 0x11, block4)[:20], io.ErrUnexpectedEOF},
		{"signature cut off", "\r\n\r\n", io.ErrUnexpectedEOF},
		{"nothing", "", io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []Mode{Optional, Required} {
				for _, piece := range []int{0, 1} {
					conn := &script{peer: tcpAddr("127.0.0.1:1"), in: []byte(c.in), piece: piece}
					_, ends, err := ReadProxy(conn, Policy{Mode: mode, Trusted: prefixes(t, "127.0.0.0/8")})
					if !errors.Is(err, c.want) {
						t.Errorf("%s, pieces of %d: %v", mode, piece, err)
					}
					if ends.Source.String() != "127.0.0.1:1" {
						t.Errorf("%s: source %v", mode, ends.Source)
					}
				}
			}
		})
	}
	if _, _, err := ReadProxy(&script{peer: tcpAddr("127.0.0.1:1")}, Policy{Mode: "sometimes"}); err == nil {
		t.Error("an unknown mode is accepted")
	}
}

// pipe is a net.Pipe with the address of a trusted peer.
type pipe struct{ net.Conn }

func (pipe) RemoteAddr() net.Addr { return tcpAddr("127.0.0.1:1") }

func TestReadProxyGivesUpOnASlowPeer(t *testing.T) {
	for _, sent := range []string{"", "PROXY TCP4"} {
		synctest.Test(t, func(t *testing.T) {
			peer, conn := net.Pipe()
			defer peer.Close()
			defer conn.Close()
			go func() { _, _ = io.WriteString(peer, sent) }()
			begun := time.Now()
			_, _, err := ReadProxy(pipe{conn}, Policy{Mode: Optional, Trusted: prefixes(t, "127.0.0.1"), Timeout: time.Minute})
			var ne net.Error
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("after %q: %v", sent, err)
			}
			if took := time.Since(begun); took != time.Minute {
				t.Errorf("after %q: gave up after %v", sent, took)
			}
		})
	}
}

func FuzzReadProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"+hello), uint8(0))
	f.Add([]byte("PROXY UNKNOWN\r\n"), uint8(1))
	f.Add([]byte(v2(1, 0x11, block4)+hello), uint8(3))
	f.Add([]byte(v2(1, 0x21, block6)), uint8(0))
	f.Add([]byte(v2(0, 0, "")), uint8(0))
	f.Add([]byte(hello), uint8(0))
	trusted := prefixes(f, "127.0.0.0/8")
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		read := func(piece int) (rest []byte, ends Ends, err error) {
			conn := &script{peer: tcpAddr("127.0.0.1:1"), in: bytes.Clone(in), piece: piece, err: os.ErrDeadlineExceeded}
			c, ends, err := ReadProxy(conn, Policy{Mode: Optional, Trusted: trusted})
			if !conn.deadline.IsZero() {
				t.Error("the deadline stays set")
			}
			rest, _ = io.ReadAll(c)
			return rest, ends, err
		}
		rest, ends, err := read(0)
		if !ends.Source.IsValid() {
			t.Errorf("no source, error %v", err)
		}
		if err == nil && !bytes.HasSuffix(in, rest) {
			t.Errorf("%q is left of %q", rest, in)
		}
		rest2, ends2, err2 := read(int(piece))
		if (err == nil) != (err2 == nil) || err == nil && (ends != ends2 || !bytes.Equal(rest, rest2)) {
			t.Errorf("in pieces of %d: %q %v %v, at once: %q %v %v", piece, rest2, ends2, err2, rest, ends, err)
		}
	})
}
