package albsim

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// tunnelEnd is what ended a tunnel; the first cause counts.
type tunnelEnd int32

const (
	endBoth        tunnelEnd = iota // both directions ended cleanly
	endOne                          // one did, and the profile closes both then
	endClientReset                  // the client reset or broke off
	endTargetReset
	endIdle
	endCut          // Shutdown
	endDeregistered // the target may not be used any longer
)

// join is a tunnel at work: opaque bytes both ways, rules and parsing behind it.
type join struct {
	p              *Profile
	client, target *meteredConn
	cause          atomic.Int32
}

// stop records a cause, if it is the first, and wakes both directions.
func (j *join) stop(cause tunnelEnd) {
	j.cause.CompareAndSwap(int32(endBoth), int32(cause))
	j.client.SetDeadline(longAgo)
	j.target.SetDeadline(longAgo)
}

// broken is stop for an error. One of our own making means that somebody has cut the tunnel: whoever wakes the
// connections of a tunnel is not always the one who recorded why.
func (j *join) broken(err error, cause tunnelEnd) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		cause = endCut
	}
	j.stop(cause)
}

// tunnel runs until both ends are closed. Bytes that either reader holds already are its first.
func (f *h1) tunnel(ctx context.Context, t *targetConn) {
	j := &join{p: &f.s.plan.profile, client: f.conn, target: t.meteredConn}
	early, behind := take(f.br), take(t.br)
	f.br, f.bw, t.br, t.bw = nil, nil, nil, nil // a tunnel may stand for hours
	if j.p.EarlyBytes == "discard" {
		early = nil
	}
	f.conn.SetDeadline(time.Time{})
	t.SetDeadline(time.Time{})
	in := f.conn.in.Load() - int64(len(early))
	f.dog.arm(func() { j.stop(endIdle) })
	defer f.x.lease.release()
	cut := context.AfterFunc(ctx, func() { j.stop(endCut) })
	lost := context.AfterFunc(f.x.lease.target.ctx(), func() { j.stop(endDeregistered) })
	upstream := make(chan struct{})
	go func() {
		defer close(upstream)
		j.pump(j.target, j.client, early, endClientReset, endTargetReset)
	}()
	j.pump(j.client, j.target, behind, endTargetReset, endClientReset)
	<-upstream
	cut()
	lost()
	f.dog.disarm()
	j.finish()
	f.x.rec.received += f.conn.in.Load() - in
	f.x.rec.tunnel = true
}

// take empties a reader's buffer.
func take(br *bufio.Reader) []byte {
	b, _ := br.Peek(br.Buffered()) // as many as there are: no error
	return slices.Clone(b)
}

// pump copies one direction until its source ends, and passes on how it ended.
func (j *join) pump(dst, src *meteredConn, first []byte, srcReset, dstReset tunnelEnd) {
	if len(first) > 0 {
		if _, err := dst.Write(first); err != nil {
			j.broken(err, dstReset)
			return
		}
	}
	readErr, writeErr := relay(dst, src)
	if writeErr != nil {
		j.broken(writeErr, dstReset)
		return
	}
	clean := errors.Is(readErr, io.EOF)
	cut := errors.Is(readErr, io.ErrUnexpectedEOF) || clean && truncated(src)
	switch {
	case cut && j.p.TLSTruncation == "reset", !clean && !cut:
		j.broken(readErr, srcReset)
	case j.p.HalfClose == "close-both":
		j.stop(endOne)
	default:
		if err := closeWrite(dst); err != nil {
			j.broken(err, dstReset)
		}
	}
}

// small is the buffer in which an idle direction waits. What fills it is the head of something bigger, for which a buffer
// of the pool is borrowed until a read falls short of filling that.
const small = 2 << 10

// relay copies until either side fails; readErr may be io.EOF.
func relay(dst io.Writer, src io.Reader) (readErr, writeErr error) {
	idle := make([]byte, small)
	var big *[]byte
	defer func() {
		if big != nil {
			buffers.Put(big)
		}
	}()
	for {
		buf := idle
		if big != nil {
			buf = *big
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return nil, err
			}
		}
		switch {
		case err != nil:
			return err, nil
		case n == small && big == nil:
			big = buffers.Get().(*[]byte)
		case n < len(buf) && big != nil:
			buffers.Put(big)
			big = nil
		}
	}
}

// finish closes both legs the way the cause and the profile ask for: a reset crosses as a reset.
func (j *join) finish() {
	clientRST, targetRST := false, false
	switch tunnelEnd(j.cause.Load()) {
	case endClientReset:
		targetRST = true
	case endTargetReset:
		clientRST = true
	case endIdle:
		clientRST = j.p.TunnelIdleCloseClient == "rst"
		targetRST = j.p.TunnelIdleCloseTarget == "rst"
	default:
	}
	closeLeg(j.client, clientRST)
	closeLeg(j.target, targetRST)
}

func closeLeg(c net.Conn, rst bool) {
	if rst {
		reset(c)
		return
	}
	closeSoon(c)
}
