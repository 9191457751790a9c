package clienthello

import (
	"errors"
	"fmt"
	"net"
)

// Alert codes of RFC 9846 section 6 and RFC 7301 that a router sends before there is a TLS stack.
const (
	AlertUnexpectedMessage     uint8 = 10
	AlertRecordOverflow        uint8 = 22
	AlertIllegalParameter      uint8 = 47
	AlertDecodeError           uint8 = 50
	AlertUnrecognizedName      uint8 = 112
	AlertNoApplicationProtocol uint8 = 120
)

// Error says why no ClientHello was read. It is a net.Error.
type Error struct {
	Alert  uint8  // what to send with WriteAlert; 0 = nothing, the connection failed or fell silent
	Reason string // the step and what was wrong, for the log
	Prefix []byte // the first bytes read, at most 64: evidence
	Err    error  // the cause when the connection failed: io.EOF (nothing was sent), io.ErrUnexpectedEOF, a timeout, a reset
}

var _ net.Error = (*Error)(nil)

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("read client hello: %s: %v", e.Reason, e.Err)
	case e.Alert != 0:
		return fmt.Sprintf("read client hello: %s (alert %d)", e.Reason, e.Alert)
	}
	return "read client hello: " + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout tells whether Limits.Timeout passed before the ClientHello was complete.
func (e *Error) Timeout() bool {
	var ne net.Error
	return errors.As(e.Err, &ne) && ne.Timeout()
}

// Temporary is part of net.Error; nothing read here can be asked for again.
func (e *Error) Temporary() bool { return false }
