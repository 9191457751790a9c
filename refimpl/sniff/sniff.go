// Package sniff tells from the first bytes of a connection what it is: TLS, HTTP/1, the HTTP/2 preface, a PROXY header, a
// PostgreSQL encryption or cancel request, or SSH.
//
// Sniff is pure: the caller peeks, bounds the bytes by MaxBytes and the wait by a deadline, and asks again while the answer is
// NeedMore:
//
//	for {
//		n, err := conn.Read(buf[len(first):cap(buf)])
//		…
//		if kind := sniff.Sniff(first); kind != sniff.NeedMore {
//			…
//		}
//	}
//
// An answer other than NeedMore never changes when more bytes come. It says what begins, not that the rest is well formed.
// Protocols in which the server speaks first (MySQL) send nothing to sniff.
//
// Sources: RFC 9846 section 5.1, RFC 9110 section 9.1, RFC 9112 section 2.2, RFC 9113 section 3.4, haproxy
// doc/proxy-protocol.txt section 2, PostgreSQL "Message Formats" (SSLRequest, GSSENCRequest, CancelRequest), RFC 4253 section
// 4.2.
package sniff

import "bytes"

// Kind is what a connection turned out to be.
type Kind int

// The kinds. NeedMore is the zero value: nothing can be said yet.
const (
	NeedMore       Kind = iota
	TLS                 // a TLS record; of type handshake unless the peer is broken, which the reader of the ClientHello will say
	HTTP1               // a request line, perhaps behind empty ones
	H2Preface           // the HTTP/2 preface, all 24 bytes
	ProxyV1             // "PROXY "
	ProxyV2             // the 12-byte signature
	PostgresSSL         // SSLRequest, 8 bytes
	PostgresGSS         // GSSENCRequest, 8 bytes
	PostgresCancel      // the beginning of a CancelRequest: its length is in the first 4 bytes and includes them
	SSH                 // "SSH-"
	Unknown             // none of these, whatever follows
)

// String returns the word for logs and metrics.
func (k Kind) String() string {
	switch k {
	case NeedMore:
		return "need-more"
	case TLS:
		return "tls"
	case HTTP1:
		return "http1"
	case H2Preface:
		return "h2-preface"
	case ProxyV1:
		return "proxy-v1"
	case ProxyV2:
		return "proxy-v2"
	case PostgresSSL:
		return "postgres-ssl"
	case PostgresGSS:
		return "postgres-gss"
	case PostgresCancel:
		return "postgres-cancel"
	case SSH:
		return "ssh"
	default:
		return "unknown"
	}
}

// MaxBytes is the most Sniff ever looks at: with so many bytes the answer is not NeedMore.
const MaxBytes = 32

// opening is a fixed beginning. A method token that happens to begin like one is still found: these are tried first.
type opening struct {
	bytes string
	kind  Kind
}

const (
	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	proxyV2   = "\r\n\r\n\x00\r\nQUIT\n"
)

var openings = []opening{
	{h2Preface, H2Preface},
	{"PROXY ", ProxyV1},
	{proxyV2, ProxyV2},
	{"SSH-", SSH},
	{"\x00\x00\x00\x08\x04\xd2\x16\x2f", PostgresSSL}, // SSLRequest 80877103
	{"\x00\x00\x00\x08\x04\xd2\x16\x30", PostgresGSS}, // GSSENCRequest 80877104
}

// Sniff tells what first, the first bytes of a connection, begins.
func Sniff(first []byte) Kind {
	if len(first) == 0 {
		return NeedMore
	}
	more := false // first is a proper prefix of something
	for _, o := range openings {
		if len(first) >= len(o.bytes) {
			if string(first[:len(o.bytes)]) == o.bytes {
				return o.kind
			}
		} else if o.bytes[:len(first)] == string(first) {
			more = true
		}
	}
	for _, recognise := range []func([]byte) Kind{sniffTLS, sniffCancel, sniffHTTP} {
		switch k := recognise(first); k {
		case Unknown:
		case NeedMore:
			more = true
		default:
			return k
		}
	}
	if more {
		return NeedMore
	}
	return Unknown
}

// sniffTLS takes a handshake record by its type alone, since legacy_record_version must be ignored. The other record types are
// TLS spoken out of turn, to be answered with an alert; there the major version keeps chance binary data out.
func sniffTLS(first []byte) Kind {
	switch {
	case first[0] == 22:
		return TLS
	case first[0] < 20 || first[0] > 23:
		return Unknown
	case len(first) == 1:
		return NeedMore
	case first[1] == 3:
		return TLS
	}
	return Unknown
}

// sniffCancel finds a CancelRequest: 80877102 behind a length of 16, or of up to 268 since protocol 3.2 (PostgreSQL 18), whose
// keys are 4 to 256 bytes.
func sniffCancel(first []byte) Kind {
	length := 0
	for i, b := range first[:min(len(first), 4)] {
		length |= int(b) << (8 * (3 - i))
	}
	code := []byte{0x04, 0xd2, 0x16, 0x2e}
	switch {
	case len(first) < 4:
		// Bytes to come can only add to the length.
		if length > 268 {
			return Unknown
		}
		return NeedMore
	case length < 16 || length > 268:
		return Unknown
	case len(first) < 8:
		if bytes.HasPrefix(code, first[4:]) {
			return NeedMore
		}
		return Unknown
	case bytes.Equal(first[4:8], code):
		return PostgresCancel
	}
	return Unknown
}

// sniffHTTP takes capital letters and hyphens up to a space for a method, also one not registered: HTTP has an answer for it,
// which tells its sender more than a closed connection. Empty lines before it are passed over (RFC 9112 section 2.2); how many
// there may be is the reader's to say.
func sniffHTTP(first []byte) Kind {
	line := bytes.TrimLeft(first, "\r\n")
	skipped := len(first) - len(line)
	for i, b := range first[:skipped] {
		if b != "\r\n"[i%2] {
			return Unknown
		}
	}
	if len(line) > 0 && skipped%2 != 0 {
		return Unknown // a CR alone
	}
	for i, b := range line[:max(0, min(len(line), MaxBytes-skipped))] {
		switch {
		case 'A' <= b && b <= 'Z', b == '-' && i > 0:
		case b == ' ' && i > 0:
			// "PRI " cannot be told from a method until the preface is over or broken.
			if skipped == 0 && len(first) < len(h2Preface) && h2Preface[:len(first)] == string(first) {
				return NeedMore
			}
			return HTTP1
		default:
			return Unknown
		}
	}
	if len(first) >= MaxBytes {
		return Unknown
	}
	return NeedMore
}
