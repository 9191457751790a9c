// Package splice joins two connections and keeps what their ends mean.
//
// Join copies both ways until both are done and then closes both connections:
//
//   - a half-close crosses as a half-close: FIN and close_notify become one another;
//   - a reset crosses as a reset, after what had come before it;
//   - a TLS side that ends without close_notify is an abort, at a record boundary too: the other side, plain TCP or not, gets
//     a reset, never a clean end. crypto/tls hides that from its caller, so put WatchEOF under every tls.Conn;
//   - bytes already sent are not lost to a reset or a close that follows: the kernel's send queue is emptied first, for as long
//     as the peer takes from it;
//   - nothing is queued here but one buffer of 32 KiB a direction while bytes are in flight: backpressure is the kernel's.
//
// A connection may be a stack, such as TLS over WebSocket over TLS over TCP. The layers are found by Unwrap() net.Conn and, for
// a tls.Conn, NetConn() net.Conn. A layer that also has Buffered() []byte (take the bytes not read yet) holds nothing else and is
// left out once these are taken. CloseWrite() error is asked of the top layer, and of the next only if a layer that passes bytes
// through unchanged has none.
//
// Between two TCP sockets on Linux no buffer is held while nothing comes, and bulk is moved by splice(2).
package splice

import (
	"context"
	"net"
	"time"
)

// Options tunes Join; the zero value works.
type Options struct {
	Idle time.Duration // no byte in either direction for so long ends the tunnel; 0 = never
}

// Report says what went through a tunnel and why it ended.
type Report struct {
	AToB, BToA int64  // bytes written to b, and to a
	Spliced    int64  // of these, the bytes that the kernel was asked to move without a copy through this process
	End        string // one of the End constants: the first thing that went wrong, EndEOF when nothing did
	Err        error  // what the failing read or write said; nil when End is EndEOF
}

// The values of Report.End.
const (
	EndEOF        = "eof"         // both sides ended cleanly
	EndResetA     = "reset-a"     // a is gone: connection reset, broken pipe, timed out
	EndResetB     = "reset-b"     //
	EndTruncatedA = "truncated-a" // the TLS of a ended without close_notify, or a frame was cut off
	EndTruncatedB = "truncated-b" //
	EndErrorA     = "error-a"     // anything else that a's layers said: an alert, a bad record, a bad frame
	EndErrorB     = "error-b"     //
	EndIdle       = "idle"        // Options.Idle passed
	EndCancelled  = "cancelled"   // ctx ended
)

const (
	// A peer that takes nothing for drainStall is not waited for any longer: a reset shall cross within a second.
	drainStall = 500 * time.Millisecond
	// drainMost bounds a peer that takes byte by byte.
	drainMost = 30 * time.Second
	// A peer that has been told the end of every layer and sends nothing for lingerQuiet is not waited for any longer; nginx lingers
	// as long (lingering_timeout).
	lingerQuiet = 5 * time.Second
	// A closing frame or a close_notify may wait for room for goodbyeMost; all before it has been acknowledged.
	goodbyeMost = 500 * time.Millisecond
)

// Join copies between a and b until both directions have ended, one of the two fails, or ctx, which bounds the whole tunnel, is
// done. It owns both connections: when it returns they are closed and its goroutines are gone. Everything but EndEOF is an abort,
// which both sides see as one.
func Join(ctx context.Context, a, b net.Conn, opt Options) Report {
	j := newJoin(a, b)
	j.start()
	v := j.supervise(ctx, opt.Idle)
	j.finish(ctx, v)
	return j.report(v)
}

func (j *join) report(v verdict) Report {
	return Report{
		AToB:    max(j.ab.moved.Load(), 0), // see pair.report
		BToA:    j.ba.moved.Load(),
		Spliced: j.ab.spliced.Load() + j.ba.spliced.Load(),
		End:     v.end,
		Err:     v.err,
	}
}
