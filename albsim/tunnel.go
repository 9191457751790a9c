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
	endIdle         // or its life is over
	endCut          // Shutdown
	endDeregistered // the target may not be used any longer
)

// join is a tunnel at work: opaque bytes both ways, rules and parsing behind it.
type join struct {
	p              *Profile
	client, target *meteredConn
	up, down       io.Reader // what the client and the target send, as it is passed on
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
	p := &f.s.plan.profile
	j := &join{p: p, client: f.conn, target: t.meteredConn}
	early, behind := take(f.br), take(t.br)
	f.br, f.bw, t.br, t.bw = nil, nil, nil, nil // a tunnel may stand for hours
	f.x.fields, t.answer = nil, response{}
	if p.EarlyBytes == "discard" {
		early = nil
	}
	f.conn.SetDeadline(time.Time{})
	t.SetDeadline(time.Time{})
	in := f.conn.in.Load() - int64(len(early))
	j.up = j.frames(f.x.framed, early, f.conn)
	j.down = j.frames(f.x.framed, behind, t)
	dog := f.watchTunnel(j)
	dog.arm(func() { j.stop(endIdle) })
	defer f.x.lease.release()
	cut := context.AfterFunc(ctx, func() { j.stop(endCut) })
	lost := func() bool { return true }
	if p.TunnelAtDeregistration == "cut" {
		lost = context.AfterFunc(f.x.lease.target.ctx(), func() { j.stop(endDeregistered) })
	}
	life := f.limitLife(j)
	j.both(j.up, j.down)
	cut()
	lost()
	life()
	dog.disarm()
	j.finish()
	f.x.rec.received += f.conn.in.Load() - in
	f.x.rec.tunnel = true
}

// watchTunnel is the watchdog of a tunnel: the connection's own, or one by the knobs TunnelIdle and TunnelIdleCounts.
func (f *h1) watchTunnel(j *join) *watchdog {
	timeout := j.p.TunnelIdle
	switch {
	case timeout > 0:
	case j.p.TunnelIdleCounts == "any":
		return f.dog
	default:
		timeout = f.s.plan.set.idle
	}
	dog := &watchdog{timeout: f.s.scaled(timeout), told: f.dog.told}
	if j.p.TunnelIdleCounts == "any" {
		j.client.dog.Store(dog)
		j.target.dog.Store(dog)
		return dog
	}
	j.client.dog.Store(nil)
	j.target.dog.Store(nil)
	j.down = touching{j.down, dog}
	return dog
}

// limitLife ends a tunnel by the knobs TunnelLife and KeepAliveEndsTunnel; stop takes that back.
func (f *h1) limitLife(j *join) (stop func() bool) {
	life := f.s.scaled(forever)
	if j.p.TunnelLife > 0 {
		life = f.s.scaled(j.p.TunnelLife)
	}
	if j.p.KeepAliveEndsTunnel {
		life = min(life, f.s.scaled(f.s.plan.set.keepAlive)-time.Since(f.state.established))
	} else if j.p.TunnelLife == 0 {
		return func() bool { return true }
	}
	return time.AfterFunc(life, func() { j.stop(endIdle) }).Stop
}

// take empties a reader's buffer.
func take(br *bufio.Reader) []byte {
	b, _ := br.Peek(br.Buffered()) // as many as there are: no error
	return slices.Clone(b)
}

// both moves both directions to their ends: up is what the client sends, down what the target sends.
func (j *join) both(up, down io.Reader) {
	upstream := make(chan struct{})
	go func() {
		defer close(upstream)
		j.pump(j.target, j.client, up, endClientReset, endTargetReset)
	}()
	j.pump(j.client, j.target, down, endTargetReset, endClientReset)
	<-upstream
}

// pump copies one direction until its source ends, and passes on how it ended. from reads what src sends.
func (j *join) pump(dst, src *meteredConn, from io.Reader, srcReset, dstReset tunnelEnd) {
	readErr, writeErr := relay(dst, from)
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
