package clienthello

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// DefaultBytes and DefaultTimeout are what the zero Limits stand for.
const (
	DefaultBytes   = 64 << 10
	DefaultTimeout = 10 * time.Second
)

// firstRead holds a default hybrid hello of crypto/tls (1519 bytes) and a change_cipher_spec behind it in one read.
const firstRead = 2048

// evidence is how many bytes Error.Prefix keeps.
const evidence = 64

// Limits bounds Peek. The zero value means the defaults.
type Limits struct {
	Bytes   int           // bytes read from the connection, record headers included; 0 = DefaultBytes
	Timeout time.Duration // from the call to the complete ClientHello; 0 = DefaultTimeout
}

// Peek reads from conn until the ClientHello is complete. What came behind it in the same reads is kept too.
//
// The connection returned is never nil, after an error neither, and is always a *Conn: it replays all that was read and is the
// one to use from then on. The read deadline of conn is overwritten, and cleared on every way out. Peek does not write and does
// not close.
//
// An error is always an *Error.
func Peek(conn net.Conn, lim Limits) (*Info, net.Conn, error) {
	if lim.Bytes <= 0 {
		lim.Bytes = DefaultBytes
	}
	if lim.Timeout <= 0 {
		lim.Timeout = DefaultTimeout
	}
	if err := conn.SetReadDeadline(time.Now().Add(lim.Timeout)); err != nil {
		// Without a deadline the read below would be unbounded.
		return nil, NewConn(conn, nil), &Error{Reason: "set the read deadline", Err: err}
	}
	defer conn.SetReadDeadline(time.Time{}) // an error means that conn is closed: the next read says so

	var buf []byte
	if held, ok := conn.(*Conn); ok { // what somebody has read already needs no buffer of its own
		buf, conn = held.Buffered(), held.Conn
	}
	buf, msg, err := collect(conn, buf, lim.Bytes)
	replay := NewConn(conn, buf)
	var info *Info
	if err == nil {
		info, err = Parse(msg)
	}
	if err != nil {
		bad := err.(*Error) //nolint:errorlint // collect and Parse return nothing else, and never wrap it
		bad.Prefix = append([]byte(nil), buf[:min(len(buf), evidence)]...)
		return nil, replay, bad
	}
	return info, replay, nil
}

// collect reads until one handshake message is complete. buf holds what was read before; collect returns it with every byte read
// since, also when it fails.
func collect(conn net.Conn, buf []byte, limit int) (all, msg []byte, err error) {
	var r reassembler
	if done, err := r.feed(buf[:min(len(buf), limit)], limit); done || err != nil {
		return buf, r.msg, err
	}
	for {
		if len(buf) >= limit {
			return buf, nil, tooLarge(limit)
		}
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(max(2*cap(buf), firstRead), limit))
			copy(grown, buf)
			buf = grown
		}
		n, readErr := conn.Read(buf[len(buf):min(cap(buf), limit)])
		buf = buf[:len(buf)+n]
		done, err := r.feed(buf, limit)
		if err != nil {
			return buf, nil, err
		}
		if done {
			// A failure that came along with the last bytes is the next reader's: the connection will repeat it.
			return buf, r.msg, nil
		}
		if readErr != nil {
			return buf, nil, stopped(len(buf), readErr)
		}
	}
}

// stopped names a failed read. The peer's end in the middle of a hello is never a clean one.
func stopped(n int, err error) *Error {
	if n > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &Error{Reason: fmt.Sprintf("connection ended after %d bytes", n), Err: err}
}

// tooLarge is illegal_parameter, the answer of OpenSSL and BoringSSL to an excessive message size: RFC 9846 names none.
func tooLarge(limit int) *Error {
	return &Error{Alert: AlertIllegalParameter, Reason: fmt.Sprintf("hello does not fit into %d bytes", limit)}
}

// WriteAlert sends a fatal alert in a plaintext record, the only kind there is before a ServerHello, and gives it a second:
// the peer may have stopped reading. It clears the write deadline. It does not close conn.
func WriteAlert(conn net.Conn, alert uint8) error {
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("write alert %d: %w", alert, err)
	}
	defer conn.SetWriteDeadline(time.Time{})
	// type 21, version 3.3, two bytes, level fatal
	if _, err := conn.Write([]byte{21, 3, 3, 0, 2, 2, alert}); err != nil {
		return fmt.Errorf("write alert %d: %w", alert, err)
	}
	return nil
}
