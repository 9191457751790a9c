package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// annotator says in words which TLS records pass in one direction of a connection, as far as they are in the clear. What is no TLS
// at the beginning of a call (an HTTP exchange, a PROXY header) is passed over.
type annotator struct {
	rest   int    // of a ClientHello whose beginning was seen
	held   []byte // of a record that is not whole yet
	hidden bool   // after change_cipher_spec: what follows may be encrypted
}

// maxRecord is the longest record there may be, with its header.
const maxRecord = 5 + MaxFragment + maxProtectedExtra

// see takes what passed and returns a line for each record that it completed. Missing counts bytes behind data that were not kept:
// they are a hole, behind which records cannot be told any more.
func (a *annotator) see(data []byte, missing int) (lines []string) {
	rest := append(a.held, data...)
	for len(rest) > 0 {
		if !looksTLS(rest) {
			rest = nil
			break
		}
		if len(rest) < 5 {
			break
		}
		n := 5 + int(binary.BigEndian.Uint16(rest[3:]))
		if n > maxRecord {
			rest = nil
			break
		}
		if len(rest) < n {
			break
		}
		lines = append(lines, a.record(rest[0], rest[:n]))
		rest = rest[n:]
	}
	if missing > 0 {
		rest = nil
	}
	a.held = slices.Clone(rest)
	return lines
}

// looksTLS says whether bytes may be the beginning of a record.
func looksTLS(b []byte) bool {
	return b[0] >= recordCCS && b[0] <= recordApplication && (len(b) < 2 || b[1] == 3) && (len(b) < 3 || b[2] <= 4)
}

func (a *annotator) record(typ byte, whole []byte) string {
	body := whole[5:]
	switch typ {
	case recordCCS:
		a.hidden = true
		return "change_cipher_spec"
	case recordAlert:
		if len(body) != 2 {
			return fmt.Sprintf("alert, encrypted, %d bytes", len(body))
		}
		return fmt.Sprintf("alert %s", AlertName(body[1]))
	case recordHandshake:
		return a.handshake(whole, body)
	}
	return fmt.Sprintf("protected, %d bytes", len(body))
}

// handshake names the messages of a record. In TLS 1.3 a second ClientHello comes in the clear behind a change_cipher_spec.
func (a *annotator) handshake(whole, body []byte) string {
	if a.rest > 0 { // of a message that began in an earlier record: its bytes may look like anything
		a.rest = max(0, a.rest-len(body))
		return fmt.Sprintf("handshake, a fragment of %d bytes", len(body))
	}
	if len(body) < 4 {
		return fmt.Sprintf("handshake, a fragment of %d bytes", len(body))
	}
	size := int(body[1])<<16 | int(body[2])<<8 | int(body[3])
	name, known := messageNames[body[0]]
	if a.hidden && (!known || size != len(body)-4) {
		return fmt.Sprintf("handshake, encrypted, %d bytes", len(body))
	}
	if !known {
		return fmt.Sprintf("handshake, a fragment of %d bytes", len(body))
	}
	if body[0] == 1 {
		if hello, _, err := ParseHello(whole); err == nil {
			return fmt.Sprintf("%s, name %q, ALPN [%s], %d bytes", name, hello.SNI, strings.Join(hello.ALPN, " "), len(hello.Message))
		} else if errors.Is(err, ErrNeedMore) {
			a.rest = size + 4 - len(body)
			return fmt.Sprintf("%s, the first %d of %d bytes", name, len(body), size+4)
		}
	}
	var names []string
	for rest := body; len(rest) >= 4; {
		name, known := messageNames[rest[0]]
		n := 4 + (int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3]))
		if !known {
			break
		}
		if names = append(names, name); n >= len(rest) {
			break
		}
		rest = rest[n:]
	}
	return fmt.Sprintf("%s, %d bytes", strings.Join(names, ", "), len(body))
}

// messageNames are those of RFC 9846 section 4 and of RFC 5246 section 7.4.
var messageNames = map[byte]string{
	0: "HelloRequest", 1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket", 5: "EndOfEarlyData", 8: "EncryptedExtensions", 11: "Certificate",
	12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone", 15: "CertificateVerify", 16: "ClientKeyExchange", 20: "Finished",
	22: "CertificateStatus", 24: "KeyUpdate",
}

// AlertName is the description of an alert by its number (RFC 9846 section 6, and RFC 5246 section 7.2 for those that it no longer has).
func AlertName(code uint8) string {
	if name, ok := alertNames[code]; ok {
		return fmt.Sprintf("%d %s", code, name)
	}
	return fmt.Sprintf("%d, which has no name", code)
}

var alertNames = map[uint8]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure", 42: "bad_certificate",
	43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter",
	48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security",
	80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
	110: "unsupported_extension", 112: "unrecognized_name", 113: "bad_certificate_status_response", 115: "unknown_psk_identity",
	116: "certificate_required", 120: "no_application_protocol",
}
