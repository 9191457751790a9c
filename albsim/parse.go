package albsim

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
)

// refusal is a request that is answered by the balancer and goes no further. The connection is closed behind it.
type refusal struct {
	status int
	reason string // for the access log; may be empty
}

func (r *refusal) Error() string { return "request refused: " + r.reason }

// classify makes a request severe that was refused for its form, unless that is what it was classified by already.
func (r *refusal) classify(c *classification) {
	if r.reason != "" && r.reason != c.reason {
		c.worsen(severe, r.reason)
	}
}

var errLineTooLong = errors.New("line too long")

// readLine returns a line without its end, and whether that end was a bare LF. It reads at most limit bytes, the end
// not counted; the line stands until the next read from br.
func readLine(br *bufio.Reader, limit int) (line []byte, bareLF bool, err error) {
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(long)+len(part) > limit+2 {
			return nil, false, errLineTooLong
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(long)+len(part) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, false, err
		}
		if long != nil {
			part = append(long, part...)
		}
		part = part[:len(part)-1]
		if n := len(part); n > 0 && part[n-1] == '\r' {
			if n-1 > limit {
				return nil, false, errLineTooLong
			}
			return part[:n-1], false, nil
		}
		if len(part) > limit {
			return nil, false, errLineTooLong
		}
		return part, true, nil
	}
}

// headReader reads the lines of one head into one piece of memory.
type headReader struct {
	br   *bufio.Reader
	text strings.Builder
}

// usualHead is how much room a head gets before it asks for more.
const usualHead = 1 << 10

// line is readLine's, copied.
func (h *headReader) line(limit int) (line string, bareLF bool, err error) {
	b, bareLF, err := readLine(h.br, limit)
	if err != nil {
		return "", false, err
	}
	if h.text.Cap() == 0 {
		h.text.Grow(len(b) + min(h.br.Buffered(), usualHead)) // the rest has mostly come with the first line
	}
	begin := h.text.Len()
	h.text.Write(b)
	return h.text.String()[begin:], bareLF, nil
}

// http09 is a request without version and fields: its answer is a body and the end of the connection.
const http09 = "HTTP/0.9"

// read makes it the request whose head comes next, in the memory of the one before. The error is a *refusal, or what the
// connection said. It reads no byte of the body and none behind the head, beyond what stays in br.
func (r *request) read(br *bufio.Reader, p *Profile, set *settings) error {
	*r = request{fields: roomOf(r.fields)}
	head := headReader{br: br}
	line, bare, err := head.line(p.MaxRequestLine)
	for blank := 0; err == nil && line == "" && blank < 4; blank++ { // RFC 9112 2.2: ignore empty lines before it
		line, bare, err = head.line(p.MaxRequestLine)
	}
	if errors.Is(err, errLineTooLong) {
		return &refusal{414, ""}
	}
	if err != nil {
		return err
	}
	r.received = time.Now()
	r.headSize = int64(len(line) + 2)
	if bare {
		r.class.worsen(acceptable, "NonCompliantHeader")
	}
	lineErr := r.requestLine(line)
	if lineErr != nil && (r.method == "" || r.proto == "") {
		return lineErr // not HTTP at all, or of a version without fields: there may be no other line
	}
	if r.proto != http09 {
		if err := r.readFields(&head, p); err != nil {
			return err
		}
	}
	if lineErr != nil {
		return lineErr
	}
	return r.settle(set)
}

// requestLine splits METHOD SP target SP version. A target with a blank in it is only acceptable, hence the outer two.
func (r *request) requestLine(line string) error {
	method, rest, ok := strings.Cut(line, " ")
	if !ok || !validToken(method) {
		return &refusal{400, "BadMethod"}
	}
	r.method = method
	if i := strings.LastIndexByte(rest, ' '); i >= 0 {
		r.target, r.proto = rest[:i], rest[i+1:]
	} else {
		r.target = rest
	}
	switch {
	case method == "GET" && rest != "" && r.target == rest: // no version at all
		r.proto = http09
		r.class.worsen(acceptable, "NonCompliantVersion")
	case method == "PRI" && r.proto == "HTTP/2.0":
		return &refusal{400, "BadMethod"} // the h2 preface where h2 was not negotiated: ALB-TLS-06
	case r.proto == "HTTP/1.1" || r.proto == "HTTP/1.0":
	case len(r.proto) == 8 && strings.HasPrefix(r.proto, "HTTP/1.") && digit(r.proto[7]): // RFC 9110 section 2.5
		r.class.worsen(acceptable, "NonCompliantVersion")
		r.proto = "HTTP/1.1"
	case len(r.proto) == 8 && strings.HasPrefix(r.proto, "HTTP/") && digit(r.proto[5]) && r.proto[6] == '.' && digit(r.proto[7]):
		return &refusal{505, ""}
	default:
		return &refusal{400, "BadVersion"}
	}
	for i := range len(r.target) {
		switch c := r.target[i]; {
		case c == 0 || c == '\r':
			r.class.worsen(severe, "BadUri")
		case c == ' ':
			r.class.worsen(acceptable, "SpaceInUri")
		case c < ' ' || c == 0x7f:
			r.class.worsen(ambiguous, "AmbiguousUri")
		}
	}
	r.splitTarget()
	return nil
}

// splitTarget takes origin-form, absolute-form and *; CONNECT's authority-form is left for the method check.
func (r *request) splitTarget() {
	at := r.target
	for _, scheme := range []string{"http://", "https://"} {
		if len(at) > len(scheme) && strings.EqualFold(at[:len(scheme)], scheme) {
			at = at[len(scheme):]
			end := strings.IndexAny(at, "/?")
			if end < 0 {
				end = len(at)
			}
			r.host, at = at[:end], at[end:]
			if !strings.HasPrefix(at, "/") {
				at = "/" + at
			}
			r.target = at
		}
	}
	switch {
	case strings.HasPrefix(at, "/"), at == "*" && r.method == "OPTIONS", r.method == "CONNECT":
	case at == "":
		r.class.worsen(ambiguous, "MissingUri")
	default:
		r.class.worsen(severe, "BadUri")
	}
	r.path, r.query, _ = strings.Cut(at, "?")
	r.path, _, _ = strings.Cut(r.path, "#")
}

func (r *request) readFields(head *headReader, p *Profile) error {
	total := 0
	for {
		line, bare, err := head.line(p.MaxHeaderLine - 1) // a line of 16384 bytes is refused already (O VUF)
		if errors.Is(err, errLineTooLong) {
			return &refusal{400, ""}
		}
		switch {
		case errors.Is(err, io.EOF):
			r.class.worsen(ambiguous, "MissingLastEmptyLine")
			err = io.ErrUnexpectedEOF
		case errors.Is(err, io.ErrUnexpectedEOF):
			r.class.worsen(ambiguous, "PartialHeaderLine")
		}
		if err != nil {
			return err
		}
		r.headSize += int64(len(line) + 2)
		if total += len(line) + 2; total > p.MaxHeaders {
			return &refusal{400, ""}
		}
		if line == "" {
			return nil
		}
		if bare {
			r.class.worsen(acceptable, "NonCompliantHeader")
		}
		r.addField(line)
	}
}

func (r *request) addField(line string) {
	if torn(line) {
		r.class.worsen(severe, "BadHeader")
	}
	if line[0] == ' ' || line[0] == '\t' {
		switch {
		case trim(line) == "":
			r.class.worsen(ambiguous, "EmptyHeader")
		case len(r.fields) == 0:
			r.class.worsen(severe, "BadHeader")
		default:
			// TRB: "multi-line headers are not supported: the load balancer appends a colon to it".
			r.class.worsen(ambiguous, "MultilineHeader")
			r.fields = append(r.fields, field{raw: line + ":"})
		}
		return
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		r.class.worsen(ambiguous, "MissingHeaderColon")
	case name == "":
		r.class.worsen(ambiguous, "EmptyHeader")
		return
	}
	for i := range len(line) {
		if c := line[i]; c >= 0x7f || c < ' ' && c != '\t' {
			r.class.worsen(acceptable, "NonCompliantHeader")
		}
	}
	if strings.ContainsAny(name, " \t") && !looksLikeFraming(name) {
		r.class.worsen(acceptable, "NonCompliantHeader")
	}
	r.fields = append(r.fields, field{name: name, value: trim(value)})
}

// torn tells whether there is a byte in a line that some reader ends it at.
func torn(line string) bool {
	return strings.IndexByte(line, 0) >= 0 || strings.IndexByte(line, '\r') >= 0
}

// trim takes blanks and tabs off both ends.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// settle draws the conclusions that need the whole head.
func (r *request) settle(set *settings) error {
	status := r.framing()
	hosts := 0
	for _, f := range r.fields {
		if f.is("Host") {
			if hosts++; r.host == "" {
				r.host = f.value
			}
		}
	}
	if hosts == 0 && r.proto == "HTTP/1.1" || hosts > 1 && !set.preserveHost || !validHost(r.host) {
		r.class.worsen(severe, "BadHeader")
	}
	switch {
	case set.blocks(r.class.tier):
		return &refusal{400, r.class.reason}
	case status != 0:
		return &refusal{status, ""}
	}
	connection := list(r.fields, "Connection")
	r.close = hasToken(connection, "close") || r.proto == http09 || r.proto == "HTTP/1.0" && !hasToken(connection, "keep-alive")
	r.upgrade = list(r.fields, "Upgrade")
	expect, _ := r.get("Expect")
	r.expect = strings.EqualFold(expect, "100-continue") && r.proto == "HTTP/1.1"
	return nil
}

func validHost(host string) bool { return !strings.ContainsAny(host, " \t/\\@") }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// validToken is RFC 9110's token.
func validToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
