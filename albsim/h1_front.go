package albsim

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// What follows makes an h1 the front of its exchanges.

func (f *h1) head(r *response) error {
	if r.status < 200 {
		// No watchdog stands over a switch, and none that could cut a write over a 1xx.
		f.conn.SetWriteDeadline(time.Now().Add(f.dog.timeout))
		if err := f.writeHead(r, r.fields); err != nil {
			return err
		}
		return f.bw.Flush()
	}
	if f.s.isDraining() {
		f.x.close = true
	}
	// A page of ours is written with no watchdog over it; a client that takes nothing must not hold us.
	deadline := time.Time{}
	if r.own {
		deadline = time.Now().Add(f.dog.timeout)
	}
	f.conn.SetWriteDeadline(deadline)
	if f.x.req.proto == http09 {
		f.toClose, f.chunked = r.length < 0, false
		return nil
	}
	if r.length < 0 {
		f.toClose = f.x.req.proto == "HTTP/1.0"
		f.chunked = !f.toClose
		f.x.close = f.x.close || f.toClose
	}
	fields := make([]field, 0, len(r.fields)+2)
	for _, one := range r.fields {
		if !hopByHop(one.name) && (r.length >= 0 || !one.is("Content-Length")) {
			fields = append(fields, one)
		}
	}
	if f.chunked {
		fields = append(fields, field{name: "Transfer-Encoding", value: "chunked"})
	}
	connection := "keep-alive"
	if f.x.close {
		connection = "close"
	}
	return f.writeHead(r, append(fields, field{name: "Connection", value: connection}))
}

// hopByHop names the fields of a response that concern the connection to the target alone.
func hopByHop(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding":
		return true
	}
	return false
}

func (f *h1) writeHead(r *response, fields []field) error {
	b := append(f.bw.AvailableBuffer(), "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(r.status), 10), ' ')
	b = append(append(b, r.reason...), "\r\n"...)
	_, err := f.bw.Write(appendFields(b, fields))
	return err
}

// appendFields appends a head's fields and the empty line behind them.
func appendFields(b []byte, fields []field) []byte {
	for _, f := range fields {
		if f.raw != "" {
			b = append(b, f.raw...)
		} else {
			b = append(append(append(b, f.name...), ": "...), f.value...)
		}
		b = append(b, "\r\n"...)
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

func (f *h1) stopBody() { f.conn.SetReadDeadline(longAgo) }

func (f *h1) cut() { f.conn.SetDeadline(longAgo) }

// watchAfter is how long an answer may take before anybody looks whether the client is still there: most are quicker, and a goroutine
// for each would cost as much as the rest of the request.
const watchAfter = 10 * time.Millisecond

// watch reads ahead while a request is being answered. Bytes stay in the buffer (an early tunnel byte or the next
// request); an end of the stream means that the client has left, if the profile says so.
func (f *h1) watch(gone func()) (stop func()) {
	ended := make(chan struct{})
	later := time.AfterFunc(watchAfter, func() {
		defer close(ended)
		for {
			_, err := f.br.Peek(f.br.Buffered() + 1)
			switch {
			case err == nil:
				continue
			case errors.Is(err, bufio.ErrBufferFull), timedOut(err):
			case errors.Is(err, io.EOF) && f.s.plan.profile.ClientFIN == "wait":
			default:
				gone()
			}
			return
		}
	})
	return func() {
		if later.Stop() {
			return
		}
		f.conn.SetReadDeadline(longAgo)
		<-ended
		f.conn.SetReadDeadline(time.Time{})
	}
}
