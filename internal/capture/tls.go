package capture

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Record and message types (RFC 9846 sections 4 and 5.1).
const (
	recordCCS         = 20
	recordHandshake   = 22
	recordApplication = 23

	messageServerHello = 2
	messageCertificate = 11
	messageFinished    = 20

	versionTLS13 = 0x0304
)

// retryRandom is the random of a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 9846 section 4.1.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// errMore says that the bytes so far do not decide.
var errMore = errors.New("more bytes are needed")

// hello is the one place that knows the ClientHello parser of conformance/wire. It returns the length of its records too.
func hello(client []byte) (h wire.Hello, n int, err error) {
	header, err := proxyHeader(client)
	if err != nil {
		return h, 0, err
	}
	h, n, err = wire.ParseHello(client[header:])
	if errors.Is(err, wire.ErrNeedMore) {
		err = errMore
	}
	return h, header + n, err
}

// The two forms of a PROXY header, which a load balancer may put before everything else (HAProxy, proxy-protocol.txt, sections
// 2.1 and 2.2).
const (
	proxyV1 = "PROXY "
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"
	maxV1   = 107
)

// proxyHeader is the length of the PROXY header in front, 0 when there is none.
func proxyHeader(b []byte) (int, error) {
	const fixed = len(proxyV2) + 4
	switch {
	case strings.HasPrefix(proxyV2, string(b[:min(len(b), len(proxyV2))])):
		if len(b) < fixed {
			return 0, errMore
		}
		n := fixed + int(binary.BigEndian.Uint16(b[fixed-2:]))
		if len(b) < n {
			return 0, errMore
		}
		return n, nil
	case strings.HasPrefix(proxyV1, string(b[:min(len(b), len(proxyV1))])):
		end := bytes.Index(b[:min(len(b), maxV1)], []byte("\r\n"))
		if end < 0 {
			return 0, errMore
		}
		return end + 2, nil
	}
	return 0, nil
}

// record is one TLS record.
type record struct {
	typ  byte
	body []byte
	raw  []byte // with its header, which the AEAD covers
}

// nextRecord cuts a record off b; ok is false when it is not whole yet.
func nextRecord(b []byte) (r record, rest []byte, ok bool) {
	if len(b) < 5 {
		return record{}, b, false
	}
	n := 5 + int(binary.BigEndian.Uint16(b[3:]))
	if len(b) < n {
		return record{}, b, false
	}
	return record{typ: b[0], body: b[5:n], raw: b[:n]}, b[n:], true
}

// nextMessage cuts a handshake message off b.
func nextMessage(b []byte) (typ byte, body, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, b, false
	}
	n := 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
	if len(b) < n {
		return 0, nil, b, false
	}
	return b[0], b[4:n], b[n:], true
}

// answer is what the server chose.
type answer struct{ version, suite uint16 }

// serverHello finds the server's choice in its direction, behind a HelloRetryRequest if there is one.
func serverHello(server []byte) (answer, error) {
	var plain []byte
	for {
		r, rest, ok := nextRecord(server)
		if !ok {
			return answer{}, errMore
		}
		server = rest
		switch r.typ {
		case recordHandshake:
			plain = append(plain, r.body...)
		case recordCCS:
			continue
		default:
			return answer{}, fmt.Errorf("record of type %d where a ServerHello was expected", r.typ)
		}
		for {
			typ, body, left, ok := nextMessage(plain)
			if !ok {
				break
			}
			plain = left
			if typ != messageServerHello {
				return answer{}, fmt.Errorf("handshake message %d where a ServerHello was expected", typ)
			}
			a, retry, err := parseServerHello(body)
			if err != nil || !retry {
				return a, err
			}
		}
	}
}

func parseServerHello(body []byte) (a answer, retry bool, err error) {
	short := errors.New("the ServerHello is cut short")
	if len(body) < 35 {
		return a, false, short
	}
	a.version = binary.BigEndian.Uint16(body)
	retry = bytes.Equal(body[2:34], retryRandom[:])
	at := 35 + int(body[34])
	if len(body) < at+3 {
		return a, false, short
	}
	a.suite = binary.BigEndian.Uint16(body[at:])
	at += 3
	if len(body) < at+2 {
		return a, retry, nil // TLS 1.2 without extensions
	}
	ext := body[at+2:]
	for len(ext) >= 4 {
		typ, n := binary.BigEndian.Uint16(ext), int(binary.BigEndian.Uint16(ext[2:]))
		if len(ext) < 4+n {
			return a, false, short
		}
		if typ == wire.ExtSupportedVersions && n == 2 {
			a.version = binary.BigEndian.Uint16(ext[4:])
		}
		ext = ext[4+n:]
	}
	return a, retry, nil
}

// clientCert says whether a client certificate came, from the client's bytes behind its first ClientHello. The error says
// why that is not known; it is errMore while the handshake is not over.
func clientCert(client []byte, a answer, secret []byte) (bool, error) {
	if a.version >= versionTLS13 {
		return clientCert13(client, a.suite, secret)
	}
	return clientCert12(client)
}

// clientCert12 reads the client's flight of TLS 1.2, which is in the clear up to its ChangeCipherSpec.
func clientCert12(client []byte) (bool, error) {
	var plain []byte
	for {
		r, rest, ok := nextRecord(client)
		if !ok {
			return false, errMore
		}
		client = rest
		switch r.typ {
		case recordCCS:
			return false, nil // from here on encrypted, and no Certificate message has come
		case recordHandshake:
			plain = append(plain, r.body...)
		default:
			return false, fmt.Errorf("record of type %d in the client's flight", r.typ)
		}
		for {
			typ, body, left, ok := nextMessage(plain)
			if !ok {
				break
			}
			plain = left
			if typ == messageCertificate {
				return len(body) > 3, nil // a list of length zero is "I have none" (RFC 5246 section 7.4.6)
			}
		}
	}
}

// clientCert13 decrypts the client's flight of TLS 1.3 with its handshake traffic secret.
func clientCert13(client []byte, suite uint16, secret []byte) (bool, error) {
	if secret == nil {
		return false, errors.New("the client's flight of TLS 1.3 is encrypted and no key log has its secret")
	}
	aead, iv, err := trafficKey(suite, secret)
	if err != nil {
		return false, err
	}
	var plain []byte
	var seq uint64
	for {
		r, rest, ok := nextRecord(client)
		if !ok {
			return false, errMore
		}
		client = rest
		if r.typ != recordApplication {
			continue // a second ClientHello after a retry, or the ChangeCipherSpec for middleboxes
		}
		nonce := bytes.Clone(iv)
		for i := range 8 {
			nonce[len(nonce)-1-i] ^= byte(seq >> (8 * i))
		}
		inner, err := aead.Open(nil, nonce, r.body, r.raw[:5])
		if err != nil {
			if seq == 0 {
				continue // early data, under another key: what follows is ours (RFC 9846 section 4.2.10)
			}
			return false, fmt.Errorf("decrypting the client's flight: %w", err)
		}
		seq++
		inner = bytes.TrimRight(inner, "\x00")
		if len(inner) == 0 || inner[len(inner)-1] != recordHandshake {
			return false, errors.New("the client's flight is not a handshake (an alert?)")
		}
		plain = append(plain, inner[:len(inner)-1]...)
		for {
			typ, body, left, ok := nextMessage(plain)
			if !ok {
				break
			}
			plain = left
			switch typ {
			case messageFinished:
				return false, nil
			case messageCertificate:
				// A context of one length byte, then the list: empty is "I have none" (RFC 9846 section 4.4.2).
				if len(body) < 1 || len(body) < 1+int(body[0])+3 {
					return false, errors.New("the client's Certificate message is cut short")
				}
				return len(body) > 1+int(body[0])+3, nil
			}
		}
	}
}

// trafficKey derives the key and the IV of a traffic secret (RFC 9846 section 7.3).
func trafficKey(suite uint16, secret []byte) (cipher.AEAD, []byte, error) {
	newHash, size := func() hash.Hash { return sha256.New() }, 16
	switch suite {
	case 0x1301: // TLS_AES_128_GCM_SHA256
	case 0x1302: // TLS_AES_256_GCM_SHA384
		newHash, size = func() hash.Hash { return sha512.New384() }, 32
	case 0x1303: // TLS_CHACHA20_POLY1305_SHA256
		size = 32
	default:
		return nil, nil, fmt.Errorf("cipher suite %#04x is not known", suite)
	}
	key, err := expandLabel(newHash, secret, "key", size)
	if err != nil {
		return nil, nil, err
	}
	iv, err := expandLabel(newHash, secret, "iv", 12)
	if err != nil {
		return nil, nil, err
	}
	if suite == 0x1303 {
		aead, err := chacha20poly1305.New(key)
		return aead, iv, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, iv, err
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 9846 section 7.1).
func expandLabel(newHash func() hash.Hash, secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(size)), byte(len(label)))
	info = append(append(info, label...), 0)
	return hkdf.Expand(newHash, secret, string(info), size)
}
