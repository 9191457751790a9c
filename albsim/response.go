package albsim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// response is what goes to the client: a target's, or one of the balancer's own pages.
type response struct {
	proto  string // the target's, HTTP/1.0 or HTTP/1.1
	status int
	reason string
	fields []field
	length int64 // of the body; 0 none, else chunkedLength or untilClose
	close  bool  // the target's connection is not to be used again
	own    bool  // the balancer's own page

	streams  bool           // a body follows, however late: the head must not wait for it
	trailers func() []field // what follows the body, once it has been read; may be nil
}

var errBadResponse = errors.New("malformed response")

// read makes it the response whose head comes next, in the memory of the one before, at most limit bytes of it. method is the
// request's: it decides about the body.
func (r *response) read(br *bufio.Reader, method string, limit int) error {
	*r = response{fields: roomOf(r.fields)}
	head := headReader{br: br}
	line, _, err := head.line(limit)
	if err != nil {
		return err
	}
	total := len(line) + 2
	proto, rest, ok := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, convErr := strconv.Atoi(code)
	if !ok || proto != "HTTP/1.1" && proto != "HTTP/1.0" ||
		len(code) != 3 || convErr != nil || status < 100 || torn(reason) {
		return fmt.Errorf("%w: status line %.60q", errBadResponse, line)
	}
	r.proto, r.status, r.reason = proto, status, reason
	for {
		line, _, err := head.line(limit)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if line == "" {
			break
		}
		if total += len(line) + 2; total > limit {
			return fmt.Errorf("%w: head over %d bytes", errBadResponse, limit)
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !validToken(name) || torn(value) {
			return fmt.Errorf("%w: header line %.60q", errBadResponse, line)
		}
		r.fields = append(r.fields, field{name: name, value: trim(value)})
	}
	return r.frame(method)
}

// frame decides where the body ends: RFC 9112 section 6.3.
func (r *response) frame(method string) error {
	connection := list(r.fields, "Connection")
	r.close = hasToken(connection, "close") || r.proto == "HTTP/1.0" && !hasToken(connection, "keep-alive")
	encodings := list(r.fields, "Transfer-Encoding")
	length, known := int64(0), false
	fields := r.fields[:0]
	for _, f := range r.fields {
		if !f.is("Content-Length") {
			fields = append(fields, f)
			continue
		}
		n, ok := parseLength(f.value)
		if !ok || known && n != length {
			return fmt.Errorf("%w: Content-Length %q", errBadResponse, f.value)
		}
		if !known { // repeated and equal: once will do (RFC 9112 section 6.3)
			fields = append(fields, f)
		}
		length, known = n, true
	}
	r.fields = fields
	switch {
	case r.status < 200, r.status == 204, r.status == 304, method == "HEAD":
		r.length = 0
	case len(encodings) > 0:
		if !strings.EqualFold(encodings[len(encodings)-1], "chunked") || len(encodings) > 1 {
			return fmt.Errorf("%w: Transfer-Encoding %q", errBadResponse, encodings)
		}
		if r.length = chunkedLength; known {
			r.close = true // two framings: believe chunked, trust the connection no further
		}
	case known:
		r.length = length
	default:
		r.length, r.close = untilClose, true
	}
	return nil
}
