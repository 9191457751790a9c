package albsim

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"time"
)

// What follows makes an h1 the front of its exchanges.

func (f *h1) head(r *response) error {
	if r.status < 200 {
		// No watchdog stands over a switch, and none that could cut a write over a 1xx.
		f.limitWrite(true)
		if _, err := f.bw.Write(appendFields(f.appendStatus(r), r.fields)); err != nil {
			return err
		}
		return f.bw.Flush()
	}
	if f.s.isDraining() {
		f.x.close = true
	}
	// A page of ours is written with no watchdog over it; a client that takes nothing must not hold us.
	f.limitWrite(r.own)
	if f.x.req.proto == http09 {
		f.toClose, f.chunked = r.length < 0, false
		return nil
	}
	if r.length < 0 {
		f.toClose = f.x.req.proto == "HTTP/1.0"
		f.chunked = !f.toClose
		f.x.close = f.x.close || f.toClose
	}
	b := f.appendStatus(r)
	for _, one := range r.fields {
		if !hopByHop(one) && (r.length >= 0 || !one.is("Content-Length")) {
			b = one.append(b)
		}
	}
	if f.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	connection := "Connection: keep-alive\r\n\r\n"
	if f.x.close {
		connection = "Connection: close\r\n\r\n"
	}
	_, err := f.bw.Write(append(b, connection...))
	return err
}

// limitWrite bounds the writes to the client that follow, or takes that back.
func (f *h1) limitWrite(limited bool) {
	switch {
	case limited:
		f.conn.SetWriteDeadline(time.Now().Add(f.dog.timeout))
		f.timed.Store(true)
	case f.limited:
		f.conn.SetWriteDeadline(time.Time{})
	}
	f.limited = limited
}

// hopByHop tells whether a field of a response concerns the connection to the target alone.
func hopByHop(f field) bool {
	return f.is("Connection") || f.is("Keep-Alive") || f.is("Proxy-Connection") || f.is("Transfer-Encoding")
}

// appendStatus appends a status line to what the buffer of the connection has room for.
func (f *h1) appendStatus(r *response) []byte {
	b := append(f.bw.AvailableBuffer(), "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(r.status), 10), ' ')
	return append(append(b, r.reason...), "\r\n"...)
}

// appendFields appends a head's fields and the empty line behind them.
func appendFields(b []byte, fields []field) []byte {
	for _, f := range fields {
		b = f.append(b)
	}
	return append(b, "\r\n"...)
}

func (f field) append(b []byte) []byte {
	if f.raw != "" {
		b = append(b, f.raw...)
	} else {
		b = append(append(append(b, f.name...), ": "...), f.value...)
	}
	return append(b, "\r\n"...)
}

// Write passes a piece of the body on at once: a target that streams must not wait in our buffer.
func (f *h1) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var w io.Writer = f.bw
	if f.chunked {
		w = chunkedWriter{f.bw}
	}
	n, err := w.Write(p)
	if err == nil {
		err = f.bw.Flush()
	}
	return n, err
}

func (f *h1) end() error {
	if f.chunked {
		if err := (chunkedWriter{f.bw}).Close(); err != nil {
			return err
		}
	}
	return f.bw.Flush()
}

func (f *h1) abandon() { f.broken = true }

func (f *h1) canSwitch() bool { return true }

func (f *h1) stopBody() {
	f.conn.SetReadDeadline(longAgo)
	f.timed.Store(true)
}

func (f *h1) cut() {
	f.conn.SetDeadline(longAgo)
	f.timed.Store(true)
}

// watchAfter is how long an answer may take before anybody looks whether the client is still there: most are quicker, and a goroutine
// for each would cost as much as the rest of the request.
const watchAfter = 10 * time.Millisecond

// watch reads ahead while a request is being answered. Bytes stay in the buffer (an early tunnel byte or the next
// request); an end of the stream means that the client has left, if the profile says so.
func (f *h1) watch(gone func()) (stop func()) {
	f.gone = gone
	f.late.arm(f.look)
	return f.stopLook
}

func (f *h1) beginLook() {
	looked := make(chan struct{})
	f.looked = looked
	go func() {
		defer close(looked)
		f.lookAhead()
	}()
}

func (f *h1) lookAhead() {
	for {
		_, err := f.br.Peek(f.br.Buffered() + 1)
		switch {
		case err == nil:
			continue
		case errors.Is(err, bufio.ErrBufferFull), timedOut(err):
		case errors.Is(err, io.EOF) && f.s.plan.profile.ClientFIN == "wait":
		default:
			f.gone()
		}
		return
	}
}

func (f *h1) endLook() {
	if !f.late.pause() {
		return
	}
	f.conn.SetReadDeadline(longAgo)
	<-f.looked
	f.conn.SetReadDeadline(time.Time{})
}
