package wire

import "bytes"

// ECHOuter and ECHInner are the first byte of an encrypted_client_hello extension (RFC 9849 section 5).
const (
	ECHOuter = 0
	ECHInner = 1
)

// GreaseECH is an encrypted_client_hello extension that nobody can decrypt, made as RFC 9849 section 6.2 has it:
// DHKEM(X25519) with HKDF-SHA256 and AES-128-GCM, all else random.
func GreaseECH() Extension {
	body := []byte{ECHOuter, 0, 1, 0, 1}
	body = append(body, random(1)...)
	body = append(body, Vec(2, random(32))...)
	return Extension{ExtECH, append(body, Vec(2, random(208))...)}
}

// ECHConfirmed says whether a ServerHello confirms that the hello before it was taken for the inner one of an encrypted
// ClientHello (RFC 9849 section 7.2). Both are handshake messages, headers included; the suite must be one with SHA-256.
func ECHConfirmed(hello, serverHello []byte) bool {
	const last = 4 + 2 + 24 // the last eight bytes of the random
	if len(hello) < 4+2+32 || len(serverHello) < last+8 {
		return false
	}
	unsigned := append([]byte(nil), serverHello...)
	clear(unsigned[last : last+8])
	secret := extract(nil, hello[6:38])
	want := expand(secret, "ech accept confirmation", sum(append(append([]byte(nil), hello...), unsigned...)), 8)
	return bytes.Equal(want, serverHello[last:last+8])
}
