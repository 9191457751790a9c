package wire

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// MaxHeader bounds a header that is read, in bytes: above what any check sends to see whether it is passed on.
const MaxHeader = 128 << 10

// Response is the header of an HTTP/1 response, as it came.
type Response struct {
	Proto  string
	Status int
	Reason string
	// Header is by canonical name; Lines are the field lines as they were.
	Header http.Header
	Lines  []string
	// Raw is the header with its last empty line.
	Raw []byte
}

// ReadResponse reads one response header, interim ones (1xx) included, and returns the connection from the first byte
// behind it on: nothing that was read is lost.
func ReadResponse(c net.Conn) (*Response, net.Conn, error) {
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			resp, err := parseResponse(buf[:end+4])
			return resp, WithPrefix(c, buf[end+4:]), err
		}
		if len(buf) > MaxHeader {
			return nil, nil, fmt.Errorf("reading the response: header over %d bytes", MaxHeader)
		}
		n, err := c.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if err != nil && !bytes.Contains(buf, []byte("\r\n\r\n")) {
			return nil, nil, fmt.Errorf("reading the response (%d bytes came: %.60q): %w", len(buf), buf, err)
		}
	}
}

func parseResponse(raw []byte) (*Response, error) {
	lines := strings.Split(strings.TrimSuffix(string(raw), "\r\n\r\n"), "\r\n")
	proto, rest, _ := strings.Cut(lines[0], " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || !strings.HasPrefix(proto, "HTTP/1.") || len(code) != 3 {
		return nil, fmt.Errorf("reading the response: status line %.80q", lines[0])
	}
	resp := &Response{Proto: proto, Status: status, Reason: reason, Header: http.Header{}, Lines: lines[1:], Raw: append([]byte(nil), raw...)}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("reading the response: field line %.80q", line)
		}
		resp.Header.Add(name, strings.TrimSpace(value))
	}
	return resp, nil
}

// Body reads the content of the response from the connection that ReadResponse returned, at most limit bytes. It knows
// Content-Length and bodies that end with the connection; of a chunked body it returns the chunks undecoded up to the last.
func (r *Response) Body(c net.Conn, limit int64) ([]byte, error) {
	if r.Status < 200 || r.Status == 204 || r.Status == 304 {
		return nil, nil
	}
	if text := r.Header.Get("Content-Length"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("reading the body: content-length %q", text)
		}
		body := make([]byte, min(n, limit))
		got, err := io.ReadFull(c, body)
		return body[:got], err
	}
	if !strings.EqualFold(r.Header.Get("Transfer-Encoding"), "chunked") {
		return io.ReadAll(io.LimitReader(c, limit))
	}
	var body []byte
	one := make([]byte, 1)
	for int64(len(body)) < limit && !bytes.HasSuffix(body, []byte("0\r\n\r\n")) {
		if _, err := io.ReadFull(c, one); err != nil {
			return body, err
		}
		body = append(body, one[0])
	}
	return body, nil
}
