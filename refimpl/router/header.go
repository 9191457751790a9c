package router

import (
	"bytes"
	"net/http"
	"strings"
)

// badRequest is a request that is answered with a status and not obeyed.
type badRequest struct {
	status int
	reason string
}

func (e *badRequest) Error() string { return "http: " + e.reason }

// emptyLines is the length of the empty lines before a request line: RFC 9112 section 2.2 has a server ignore one at least.
func emptyLines(block []byte) int {
	n := 0
	for bytes.HasPrefix(block[n:], []byte("\r\n")) {
		n += 2
	}
	return n
}

// headerEnd is the length of the header including its empty line, 0 when that has not come yet. It sees the end of a header that
// is written with bare LFs too: checkHeader refuses it, where waiting for a CRLF would run into the timeout.
func headerEnd(block []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(block[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch rest := block[i:]; {
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return i + 2
		case bytes.HasPrefix(rest, []byte("\n")):
			return i + 1
		}
	}
}

// checkHeader refuses what hops are known to read in different ways (RFC 9112 sections 2.2, 3.2, 5.1, 5.2, 6.1, 6.3 and 11.2).
// net/http, which parses the header afterwards, lets much of it pass.
func checkHeader(block []byte) error {
	bad := func(reason string) error { return &badRequest{http.StatusBadRequest, reason} }
	for i, ch := range block {
		switch {
		case ch == '\r' && (i+1 == len(block) || block[i+1] != '\n'):
			return bad("bare CR in the header")
		case ch == '\n' && (i == 0 || block[i-1] != '\r'):
			return bad("bare LF in the header")
		case ch < ' ' && ch != '\t' && ch != '\r' && ch != '\n', ch == 0x7f:
			return bad("control character in the header")
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(block), "\r\n\r\n"), "\r\n")
	version, err := checkRequestLine(lines[0])
	if err != nil {
		return err
	}
	var hosts, lengths int
	var codings []string
	for _, line := range lines[1:] {
		if line[0] == ' ' || line[0] == '\t' {
			return bad("folded header line")
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !isToken(name) {
			return bad("malformed header field name")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "host":
			hosts++
			if strings.ContainsAny(value, " \t,@/\\?#") {
				return bad("malformed Host")
			}
		case "content-length":
			lengths++
			if value == "" || len(value) > 18 || strings.Trim(value, "0123456789") != "" {
				return bad("malformed Content-Length")
			}
		case "transfer-encoding":
			for coding := range strings.SplitSeq(value, ",") {
				codings = append(codings, strings.ToLower(strings.Trim(coding, " \t")))
			}
		}
	}
	switch {
	case hosts > 1:
		return bad("more than one Host")
	case hosts == 0 && version == "HTTP/1.1":
		return bad("no Host")
	case lengths > 1:
		return bad("more than one Content-Length")
	case lengths > 0 && len(codings) > 0:
		return bad("Content-Length and Transfer-Encoding")
	case len(codings) > 0 && version != "HTTP/1.1":
		return bad("Transfer-Encoding in " + version)
	case len(codings) > 0 && codings[len(codings)-1] != "chunked":
		return bad("chunked is not the final transfer coding")
	case len(codings) > 1:
		return &badRequest{http.StatusNotImplemented, "transfer coding other than chunked"}
	}
	return nil
}

// checkRequestLine wants METHOD SP TARGET SP VERSION with single spaces.
func checkRequestLine(line string) (version string, err error) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || strings.Contains(line, "\t") {
		return "", &badRequest{http.StatusBadRequest, "malformed request line"}
	}
	switch version = parts[2]; {
	case version == "HTTP/1.1", version == "HTTP/1.0":
		return version, nil
	case strings.HasPrefix(version, "HTTP/"):
		return "", &badRequest{http.StatusHTTPVersionNotSupported, "version other than HTTP/1.1 and HTTP/1.0"}
	}
	return "", &badRequest{http.StatusBadRequest, "malformed request line"}
}

// isToken tells whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
