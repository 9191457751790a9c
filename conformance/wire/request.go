package wire

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Request is the header of an HTTP/1 request, as it came.
type Request struct {
	Method, Target, Proto string
	// Header is by canonical name; Lines are the field lines as they were.
	Header http.Header
	Lines  []string
	// Raw is the header with its last empty line.
	Raw []byte
}

// ReadRequest reads one request header and returns the connection from the first byte behind it on: nothing that was read is
// lost. A field line without a colon, or with space before it, is kept in Lines and left out of Header.
func ReadRequest(c net.Conn) (*Request, net.Conn, error) {
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			req, err := parseRequest(buf[:end+4])
			return req, WithPrefix(c, buf[end+4:]), err
		}
		if len(buf) > MaxHeader {
			return nil, nil, fmt.Errorf("reading the request: header over %d bytes", MaxHeader)
		}
		n, err := c.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if err != nil && !bytes.Contains(buf, []byte("\r\n\r\n")) {
			return nil, nil, fmt.Errorf("reading the request (%d bytes came: %.60q): %w", len(buf), buf, err)
		}
	}
}

func parseRequest(raw []byte) (*Request, error) {
	lines := strings.Split(strings.TrimSuffix(string(raw), "\r\n\r\n"), "\r\n")
	parts := strings.Split(lines[0], " ")
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "HTTP/1.") {
		return nil, fmt.Errorf("reading the request: request line %.80q", lines[0])
	}
	req := &Request{Method: parts[0], Target: parts[1], Proto: parts[2], Header: http.Header{}, Lines: lines[1:], Raw: append([]byte(nil), raw...)}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if ok && name != "" && !strings.ContainsAny(name, " \t") {
			req.Header.Add(name, strings.Trim(value, " \t"))
		}
	}
	return req, nil
}

// HasToken says whether a comma-separated field, over all its lines, has a token, in any case of letters (RFC 9110 section
// 5.6.1).
func HasToken(h http.Header, field, token string) bool {
	for _, line := range h.Values(field) {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}
