package albsim

import (
	"strings"
	"unicode"
)

// tier is how far a request departs from RFC 9112: alb.md section 6, "Desync mitigation".
type tier int

const (
	compliant  tier = iota
	acceptable      // routed; blocked in mode strictest
	ambiguous       // routed, then in mode defensive both connections are closed; blocked in mode strictest
	severe          // blocked; routed in mode monitor
)

func (t tier) String() string {
	return [...]string{"Compliant", "Acceptable", "Ambiguous", "Severe"}[t]
}

// blocks tells whether the desync mode refuses such a request. Mode monitor routes even a severe one, if it can be told apart
// as a request at all.
func (s *settings) blocks(t tier) bool {
	return s.desync == "strictest" && t > compliant || s.desync == "defensive" && t == severe
}

// parts tells whether both connections end behind such a request. In mode monitor that is only so for what has no known end
// (assumed: AWS says that it is routed, and no more).
func (s *settings) parts(t tier) bool {
	return s.desync == "monitor" && t == severe || s.desync != "monitor" && t >= ambiguous
}

// classification is the worst tier found and the first reason for it, in the words of the access log.
type classification struct {
	tier   tier
	reason string
}

func (c *classification) worsen(t tier, reason string) {
	if t > c.tier {
		*c = classification{t, reason}
	}
}

// framing reads Content-Length and Transfer-Encoding together: they decide where the body ends, and every request that
// two readers could end at different places is ambiguous or worse. status is 0, or what to answer instead of routing.
func (r *request) framing() (status int) {
	var lengths, encodings []string
	for _, f := range r.fields {
		switch {
		case f.is("Content-Length"):
			lengths = append(lengths, f.value)
		case f.is("Transfer-Encoding"):
			encodings = append(encodings, strings.ToLower(f.value))
		case looksLikeFraming(f.name):
			r.class.worsen(ambiguous, "SuspiciousHeader")
		}
	}
	chunked := 0
	for _, e := range encodings {
		switch {
		case e == "chunked":
			chunked++
		case e == "identity":
		case e == "" || strings.ContainsFunc(e, func(c rune) bool { return c < ' ' || c >= 0x7f }):
			r.class.worsen(severe, "BadTransferEncoding")
		default:
			status = 501
		}
	}
	if chunked > 1 {
		r.class.worsen(severe, "MultipleTransferEncodingChunked")
	}
	length, known := int64(0), false
	for _, l := range lengths {
		n, ok := parseLength(l)
		switch {
		case !ok:
			r.class.worsen(severe, "BadContentLength")
		case known && n != length:
			r.class.worsen(severe, "MultipleContentLength")
		case known:
			r.class.worsen(ambiguous, "DuplicateContentLength")
		}
		length, known = n, true
	}
	getOrHead := r.method == "GET" || r.method == "HEAD"
	switch {
	case len(encodings) > 0 && known:
		r.class.worsen(ambiguous, "BothTeClPresent")
	case chunked > 0 && r.proto == "HTTP/1.0", chunked > 0 && getOrHead:
		r.class.worsen(ambiguous, "UndefinedTransferEncodingSemantics")
	case known && getOrHead && length > 0:
		r.class.worsen(ambiguous, "UndefinedContentLengthSemantics")
	case known && getOrHead:
		r.class.worsen(acceptable, "GetHeadZeroContentLength")
	}
	r.length = length
	if chunked > 0 {
		r.length = -1
	}
	return status
}

// parseLength takes digits and nothing else: no sign, no blank, no list.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// looksLikeFraming finds names that a sloppy reader could take for one of the two: Content_Length, Transfer-Encoding\t.
func looksLikeFraming(name string) bool {
	return spells(name, "contentlength") || spells(name, "transferencoding")
}

// spells tells whether the letters of a name are those of word.
func spells(name, word string) bool {
	for _, c := range name {
		if c = unicode.ToLower(unicode.ToUpper(c)); c < 'a' || c > 'z' { // both: a long s and a dotless i fold too
			continue
		}
		if word == "" || c != rune(word[0]) {
			return false
		}
		word = word[1:]
	}
	return word == ""
}
