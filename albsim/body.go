package albsim

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// errBadChunk is a chunked body that does not follow RFC 9112 section 7.1.
var errBadChunk = errors.New("malformed chunked body")

// Lengths of a body that are none.
const (
	chunkedLength = -1
	untilClose    = -2
)

// bodyReader reads a body of that length, or of that framing, and not a byte further.
func bodyReader(br *bufio.Reader, length int64) io.Reader {
	switch {
	case length == chunkedLength:
		return &chunkedReader{br: br}
	case length == untilClose:
		return br
	case length > 0:
		return &lengthReader{br, length}
	}
	return nil
}

// lengthReader turns an early end of the stream into io.ErrUnexpectedEOF; io.LimitReader would hide it.
type lengthReader struct {
	r    io.Reader
	left int64
}

func (l *lengthReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if err == io.EOF && l.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if l.left == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// chunkedReader decodes a chunked body; extensions and trailers are read within bounds and dropped.
type chunkedReader struct {
	br   *bufio.Reader
	left int64
	open bool // inside the body: a chunk's CRLF is due
	err  error
}

func (c *chunkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		c.err = err
	}
	return n, err
}

func (c *chunkedReader) line(limit int) (string, error) {
	line, bare, err := readLine(c.br, limit)
	switch {
	case errors.Is(err, errLineTooLong), err == nil && bare: // a bare LF here is a smuggler's
		return "", errBadChunk
	case errors.Is(err, io.EOF):
		return "", io.ErrUnexpectedEOF
	}
	return string(line), err
}

func (c *chunkedReader) next() error {
	if c.open {
		if end, err := c.line(0); err != nil {
			return err
		} else if end != "" {
			return errBadChunk
		}
	}
	line, err := c.line(256)
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	n, ok := parseHex(strings.Trim(size, " \t"))
	if !ok {
		return errBadChunk
	}
	c.open, c.left = true, n
	if n > 0 {
		return nil
	}
	for total := 0; ; {
		trailer, err := c.line(16 << 10)
		if err != nil {
			return err
		}
		if trailer == "" {
			return io.EOF
		}
		if total += len(trailer); total > 64<<10 {
			return errBadChunk
		}
	}
}

func parseHex(s string) (int64, bool) {
	if s == "" || len(s) > 15 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		c := s[i]
		switch {
		case digit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}

// chunkedWriter writes each Write as one chunk; Close writes the last one.
type chunkedWriter struct{ w *bufio.Writer }

func (c chunkedWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := c.w.Write(append(strconv.AppendInt(c.w.AvailableBuffer(), int64(len(p)), 16), "\r\n"...)); err != nil {
		return 0, err
	}
	if _, err := c.w.Write(p); err != nil {
		return 0, err
	}
	if _, err := c.w.WriteString("\r\n"); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c chunkedWriter) Close() error {
	_, err := c.w.WriteString("0\r\n\r\n")
	return err
}
