package wire

import (
	"bytes"
	"fmt"
	"net"
	"strings"
)

// ReadHead reads an HTTP/1 header, good or bad, up to its empty line; behind is what came with it.
func ReadHead(c net.Conn) (head string, behind []byte, err error) {
	var buf []byte
	chunk := make([]byte, 64<<10)
	for len(buf) < MaxHeader {
		n, err := c.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			return string(buf[:end+4]), buf[end+4:], nil
		}
		if err != nil {
			return "", buf, err
		}
	}
	return "", buf, fmt.Errorf("reading an HTTP header: over %d bytes", MaxHeader)
}

// Field is the value of the first line of a field of a header as it was sent, "" when there is none.
func Field(head, name string) string {
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Without removes the lines of a field.
func Without(head, name string) string {
	lines := strings.Split(head, "\r\n")
	out := lines[:1:1]
	for _, line := range lines[1:] {
		if n, _, ok := strings.Cut(line, ":"); !ok || !strings.EqualFold(n, name) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\r\n")
}

// With adds a line before all others.
func With(head, line string) string {
	first, rest, _ := strings.Cut(head, "\r\n")
	return first + "\r\n" + line + "\r\n" + rest
}
