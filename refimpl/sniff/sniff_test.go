package sniff

import (
	"strings"
	"testing"
)

var cases = []struct {
	name, in string
	want     Kind
}{
	{"handshake record", "\x16\x03\x01\x02\x00\x01", TLS},
	{"handshake record of an odd version", "\x16\x03\xff", TLS},
	{"change_cipher_spec out of turn", "\x14\x03\x03\x00\x01\x01", TLS},
	{"alert out of turn", "\x15\x03\x01", TLS},
	{"binary that only begins like a record type", "\x17\x99", Unknown},
	{"GET", "GET / HTTP/1.1\r\n", HTTP1},
	{"POST", "POST /x HTTP/1.1\r\n", HTTP1},
	{"PUT", "PUT /", HTTP1},
	{"PATCH", "PATCH /", HTTP1},
	{"OPTIONS", "OPTIONS * HTTP/1.1", HTTP1},
	{"CONNECT", "CONNECT a:1 HTTP/1.1", HTTP1},
	{"PROPFIND begins like PROXY", "PROPFIND / HTTP/1.1", HTTP1},
	{"PRINT begins like PRI", "PRINT / HTTP/1.1", HTTP1},
	{"PRI that is not the preface", "PRI * HTTP/1.1\r\n\r\n", HTTP1},
	{"method with a hyphen", "VERSION-CONTROL / HTTP/1.1", HTTP1},
	{"SSH as a method", "SSHX / HTTP/1.1", HTTP1},
	{"lower case", "get / HTTP/1.1", Unknown},
	{"leading space", " GET /", Unknown},
	{"letters without an end", strings.Repeat("A", 64), Unknown},
	{"h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00", H2Preface},
	{"PROXY v1", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", ProxyV1},
	{"PROXY v1 unknown", "PROXY UNKNOWN\r\n", ProxyV1},
	{"PROXYX", "PROXYX / HTTP/1.1\r\n", HTTP1},
	{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", ProxyV2},
	{"an empty line before a request", "\r\nGET /", HTTP1},
	{"two of them", "\r\n\r\nPOST /", HTTP1},
	{"a CR before a request", "\rGET /", Unknown},
	{"a LF before a request", "\nGET /", Unknown},
	{"an empty line before something else", "\r\n\x16\x03\x01", Unknown},
	{"an empty line before the h2 preface", "\r\nPRI * HTTP/2.0\r\n\r\nSM", HTTP1},
	{"nothing but empty lines", strings.Repeat("\r\n", 40), Unknown},
	{"SSLRequest", "\x00\x00\x00\x08\x04\xd2\x16\x2f", PostgresSSL},
	{"GSSENCRequest", "\x00\x00\x00\x08\x04\xd2\x16\x30", PostgresGSS},
	{"CancelRequest", "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01", PostgresCancel},
	{"CancelRequest with a long key", "\x00\x00\x01\x0c\x04\xd2\x16\x2e", PostgresCancel},
	{"CancelRequest too long", "\x00\x00\x01\x0d\x04\xd2\x16\x2e", Unknown},
	{"startup message", "\x00\x00\x00\x54\x00\x03\x00\x00user", Unknown},
	{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", SSH},
	{"redis", "PING\r\n", Unknown},
	{"zeros", "\x00\x00\x00\x00\x00\x00\x00\x00", Unknown},
	{"high bit", "\x80\x2e\x01", Unknown},
}

func TestSniffNamesTheProtocol(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Sniff([]byte(c.in)); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := Sniff(nil); got != NeedMore {
		t.Errorf("nothing read: got %v, want need-more", got)
	}
}

// A connection dripped byte by byte must end up where one that came at once does.
func TestSniffAnswersAPrefixAlikeOrNotYet(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { checkStable(t, []byte(c.in)) })
	}
}

func checkStable(t *testing.T, in []byte) {
	t.Helper()
	var first Kind
	for n := range len(in) + 1 {
		got := Sniff(in[:n])
		if first != NeedMore && got != first {
			t.Fatalf("%q: %v after it was %v", in[:n], got, first)
		}
		if n >= MaxBytes && got == NeedMore {
			t.Fatalf("%q: still need-more with %d bytes", in[:n], n)
		}
		first = got
	}
}

func FuzzSniff(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.in))
	}
	f.Fuzz(checkStable)
}
