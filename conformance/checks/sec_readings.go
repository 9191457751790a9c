package checks

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// reading is one way in which servers in the field find the end of an HTTP/1.1 request. Where two of them count other requests in the
// same bytes, whoever sends those bytes can have a request that only one hop knows of.
type reading struct {
	name string
	// preferLength lets Content-Length win over Transfer-Encoding, lastLength the last of several lengths.
	preferLength, lastLength bool
	// sloppy takes whatever looks like a field or its value for it: "Transfer_Encoding", "xchunked"; and LF for CRLF.
	sloppy bool
}

var readings = []reading{
	{name: "RFC 9112"},
	{name: "Content-Length first", preferLength: true},
	{name: "the last Content-Length", preferLength: true, lastLength: true},
	{name: "sloppy", sloppy: true},
}

// noEnd says that there has to come more.
const noEnd = "no end"

// requests are the request lines that a reading finds in what came over one connection; behind the last is noEnd when it is not all there.
func (r reading) requests(raw []byte) []string {
	var list []string
	for len(bytes.TrimLeft(raw, "\r\n")) > 0 {
		raw = bytes.TrimLeft(raw, "\r\n")
		end, blank := bytes.Index(raw, []byte("\r\n\r\n")), 4
		if lf := bytes.Index(raw, []byte("\n\n")); r.sloppy && lf >= 0 && (end < 0 || lf < end) {
			end, blank = lf, 2
		}
		if end < 0 {
			return append(list, fmt.Sprintf("%.20q…", raw), noEnd)
		}
		lines := strings.Split(string(raw[:end]), "\n")
		list = append(list, strings.TrimRight(lines[0], "\r"))
		size, ok := r.body(lines[1:], raw[end+blank:])
		if !ok {
			return append(list, noEnd)
		}
		raw = raw[end+blank+size:]
	}
	return list
}

// body is how many of the bytes behind a header are the request's.
func (r reading) body(lines []string, behind []byte) (size int, ok bool) {
	length, known, chunked := 0, false, false
	for _, line := range lines {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r"), ":")
		value = strings.Trim(value, " \t")
		if r.sloppy {
			name = strings.ReplaceAll(strings.TrimFunc(name, func(c rune) bool { return c <= ' ' }), "_", "-")
		}
		switch {
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 31)
			if err == nil && (!known || r.lastLength) {
				length, known = int(n), true
			}
		case strings.EqualFold(name, "Transfer-Encoding"):
			chunked = chunked || strings.EqualFold(value, "chunked") || r.sloppy && strings.Contains(strings.ToLower(value), "chunked")
		}
	}
	if !chunked || known && r.preferLength {
		return length, length <= len(behind)
	}
	return r.chunks(behind)
}

// chunks is the length of a chunked body without trailers.
func (r reading) chunks(raw []byte) (size int, ok bool) {
	for {
		end := bytes.IndexByte(raw[size:], '\n')
		if end < 0 {
			return 0, false
		}
		line, _, _ := strings.Cut(strings.TrimRight(string(raw[size:size+end]), "\r"), ";")
		n, err := strconv.ParseUint(strings.Trim(line, " \t"), 16, 31)
		size += end + 1
		if err != nil || size+int(n) > len(raw) {
			return 0, false
		}
		size += int(n)
		switch {
		case bytes.HasPrefix(raw[size:], []byte("\r\n")):
			size += 2
		case r.sloppy && bytes.HasPrefix(raw[size:], []byte("\n")):
			size++
		default:
			return 0, false
		}
		if n == 0 {
			return size, true
		}
	}
}

// complete counts the requests that are all there.
func complete(list []string) int {
	if n := len(list); n > 0 && list[n-1] == noEnd {
		return n - 2
	}
	return len(list)
}

// begun are the requests, whether or not the last is all there.
func begun(list []string) []string {
	if n := len(list); n > 0 && list[n-1] == noEnd {
		return list[:n-1]
	}
	return list
}
