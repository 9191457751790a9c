package sourceaddr

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/tlsroute/tlsroute-bench/refimpl/clienthello"
)

// Mode says what to do with PROXY headers.
type Mode string

// The modes.
const (
	Off      Mode = "off"      // nothing is read
	Optional Mode = "optional" // a trusted peer may send one
	Required Mode = "required" // every peer must be trusted and send one
)

// DefaultTimeout is what a zero Policy.Timeout stands for.
const DefaultTimeout = 10 * time.Second

// Policy says from whom a PROXY header is taken.
type Policy struct {
	Mode    Mode           // "" = Off
	Trusted []netip.Prefix // peers whose header counts; empty = nobody
	Timeout time.Duration  // for the whole header; 0 = DefaultTimeout
}

// The reasons for which ReadProxy refuses a connection; anything else is a failed or timed out read.
var (
	ErrUntrusted = errors.New("peer is not trusted to send a PROXY header")
	ErrNoHeader  = errors.New("no PROXY header")
	ErrMalformed = errors.New("malformed PROXY header")
)

// Ends are the two ends of a connection as its client sees them.
type Ends struct{ Source, Destination netip.AddrPort }

// ReadProxy reads the PROXY header that conn begins with, if policy says so, and returns the connection without it together
// with the ends of the connection on whose behalf it comes. Bytes glued to the header are kept: the connection returned, a
// *clienthello.Conn when anything was read, gives them back.
//
// The real ends are returned for LOCAL (a health check of the proxy itself), for v1 UNKNOWN, for v2 UNSPEC and for families without an
// IP address. The header of an untrusted peer is not read at all: in mode optional it stays in the stream, where nothing will
// take it for more than it is; in mode required the connection is refused.
//
// A header may come in any number of segments. The read deadline of conn is overwritten and cleared on every way out. After an
// error the caller closes conn.
func ReadProxy(conn net.Conn, policy Policy) (net.Conn, Ends, error) {
	real := Ends{Source: addrPort(conn.RemoteAddr()), Destination: addrPort(conn.LocalAddr())}
	switch policy.Mode {
	case Off, "":
		return conn, real, nil
	case Optional, Required:
	default:
		return conn, real, fmt.Errorf("read PROXY header: unknown mode %q", policy.Mode)
	}
	if !Trusted(real.Source.Addr(), policy.Trusted) {
		if policy.Mode == Required {
			return conn, real, fmt.Errorf("read PROXY header: %w: %s", ErrUntrusted, conn.RemoteAddr())
		}
		return conn, real, nil
	}
	if policy.Timeout <= 0 {
		policy.Timeout = DefaultTimeout
	}
	if err := conn.SetReadDeadline(time.Now().Add(policy.Timeout)); err != nil {
		return conn, real, fmt.Errorf("read PROXY header: %w", err)
	}
	defer conn.SetReadDeadline(time.Time{}) // an error means that conn is closed: the next read says so

	buf, n, err := collect(conn)
	rest := clienthello.NewConn(conn, buf[n:])
	switch {
	case err != nil:
		return rest, real, fmt.Errorf("read PROXY header: %w", err)
	case n == 0 && policy.Mode == Required:
		return rest, real, fmt.Errorf("read PROXY header: %w: starts with %q", ErrNoHeader, buf[:min(len(buf), 16)])
	case n == 0:
		return rest, real, nil
	}
	if err := checksum(buf[:n]); err != nil {
		return rest, real, fmt.Errorf("read PROXY header: %w", err)
	}
	if unspecified(buf[:n]) {
		return rest, real, nil
	}
	header, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(buf[:n]), n))
	if err != nil {
		return rest, real, fmt.Errorf("read PROXY header: %w: %w", ErrMalformed, err)
	}
	if told, ok := endsOf(header); ok {
		return rest, told, nil
	}
	return rest, real, nil
}

// unspecified tells a v2 header of command PROXY for "an unknown, unspecified or unsupported protocol". Section 2.2 lets the receiver
// accept the connection and use the real ends, as it has to for v1 UNKNOWN; the library would refuse it.
func unspecified(header []byte) bool {
	return strings.HasPrefix(string(header), v2Signature+"\x21\x00")
}

func endsOf(header *proxyproto.Header) (Ends, bool) {
	if header.Command.IsLocal() {
		return Ends{}, false
	}
	source, destination, ok := header.TCPAddrs()
	if !ok {
		return Ends{}, false
	}
	ends := Ends{Source: addrPort(source), Destination: addrPort(destination)}
	return ends, ends.Source.IsValid()
}

const (
	v1Signature = "PROXY "
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v1Most      = 107 // "worst case", with its CRLF: section 2.1
	v2Fixed     = 16
)

// collect reads until a header is complete, or it is clear that there is none (n is 0 then). It returns all that was read. The
// library parses, but it wants the whole of a v1 header in one read, and the specification recommends tolerance.
func collect(conn net.Conn) (buf []byte, n int, err error) {
	buf = make([]byte, 0, v2Fixed+int(proxyproto.MaxV2HeaderSize))
	for {
		got, readErr := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+got]
		n, more, err := frame(buf)
		switch {
		case err != nil:
			return buf, 0, err
		case !more:
			return buf, n, nil
		case errors.Is(readErr, io.EOF) && len(buf) > 0:
			return buf, 0, io.ErrUnexpectedEOF
		case readErr != nil:
			return buf, 0, readErr
		}
	}
}

// frame finds the end of the header at the beginning of buf: n bytes of it, 0 when there is none, or more are needed to tell.
func frame(buf []byte) (n int, more bool, err error) {
	begins := func(signature string) bool {
		k := min(len(buf), len(signature))
		return string(buf[:k]) == signature[:k]
	}
	switch {
	case begins(v1Signature):
		if i := bytes.IndexByte(buf[:min(len(buf), v1Most)], '\n'); i >= 0 {
			return i + 1, false, nil
		}
		if len(buf) >= v1Most {
			return 0, false, fmt.Errorf("%w: no end within %d bytes", ErrMalformed, v1Most)
		}
		return 0, true, nil
	case begins(v2Signature):
		if len(buf) < v2Fixed {
			return 0, true, nil
		}
		length := int(buf[14])<<8 | int(buf[15])
		if length > int(proxyproto.MaxV2HeaderSize) {
			return 0, false, fmt.Errorf("%w: %d bytes of addresses, more than %d", ErrMalformed, length, proxyproto.MaxV2HeaderSize)
		}
		return v2Fixed + length, len(buf) < v2Fixed+length, nil
	}
	return 0, false, nil
}
