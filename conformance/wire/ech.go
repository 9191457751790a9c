package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
)

// The one HPKE suite here, which every server with ECH must have (RFC 9849 section 9): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
// AES-128-GCM.
const (
	kemX25519 = 0x0020
	kdfSHA256 = 0x0001
	aesGCM128 = 0x0001
)

// ECHConfig is what a client needs to know to encrypt its hello (RFC 9849 section 4).
type ECHConfig struct {
	ID         uint8
	PublicKey  []byte
	PublicName string
	// Raw is the configuration as it stands in its list.
	Raw []byte
}

// NewECHConfigs is an ECHConfigList with one configuration.
func NewECHConfigs(id uint8, publicKey []byte, publicName string) []byte {
	body := append([]byte{id}, words([]uint16{kemX25519})...)
	body = append(body, Vec(2, publicKey)...)
	body = append(body, Vec(2, words([]uint16{kdfSHA256, aesGCM128}))...)
	body = append(append(body, 0), Vec(1, []byte(publicName))...)
	body = append(body, 0, 0) // no extensions
	return Vec(2, append(words([]uint16{ExtECH}), Vec(2, body)...))
}

// ParseECHConfigs finds the first configuration of a list whose suite is that of this package.
func ParseECHConfigs(list []byte) (ECHConfig, error) {
	outer := reader{b: list}
	all := reader{b: outer.vector(2)}
	for len(all.b) > 0 && !all.bad {
		start := all.b
		version := all.word()
		r := reader{b: all.vector(2)}
		id := r.take(1)
		kem := r.word()
		c := ECHConfig{PublicKey: r.vector(2)}
		suites := reader{b: r.vector(2)}
		r.take(1)
		c.PublicName = string(r.vector(1))
		if all.bad || r.bad {
			break
		}
		c.ID, c.Raw = id[0], start[:len(start)-len(all.b)]
		for len(suites.b) >= 4 {
			if kdf, aead := suites.word(), suites.word(); version == ExtECH && kem == kemX25519 && kdf == kdfSHA256 && aead == aesGCM128 {
				return c, nil
			}
		}
	}
	return ECHConfig{}, errors.New("no ECHConfig with DHKEM(X25519), HKDF-SHA256 and AES-128-GCM")
}

// Info is what both sides of HPKE agree on: RFC 9849 section 6.1.
func (c ECHConfig) Info() []byte { return append([]byte("tls ech\x00"), c.Raw...) }

// ECHSealer hides the hellos of one connection.
type ECHSealer struct {
	id     uint8
	enc    []byte // empty behind the first hello
	sender *hpke.Sender
}

// NewECHSealer begins a connection.
func NewECHSealer(c ECHConfig) (*ECHSealer, error) {
	key, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(c.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("reading the ECH key: %w", err)
	}
	enc, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.AES128GCM(), c.Info())
	if err != nil {
		return nil, fmt.Errorf("setting up ECH: %w", err)
	}
	return &ECHSealer{c.ID, enc, sender}, nil
}

// Seal returns the outer hello with the inner one in it (RFC 9849 sections 5.1 and 5.2). Both are handshake messages with their
// headers, and have the same session id; nothing of the inner is left for the outer to say.
func (s *ECHSealer) Seal(outer, inner []byte) ([]byte, error) {
	if len(inner) < 39 || len(inner) < 39+int(inner[38]) {
		return nil, &MalformedError{"the inner hello is cut short"}
	}
	encoded := append(append([]byte(nil), inner[4:38]...), 0) // without its session id
	encoded = append(encoded, inner[39+int(inner[38]):]...)
	encoded = append(encoded, make([]byte, 32-len(encoded)%32)...)
	body := append([]byte{ECHOuter}, words([]uint16{kdfSHA256, aesGCM128})...)
	body = append(append(body, s.id), Vec(2, s.enc)...)
	size := len(encoded) + 16
	body = append(binary.BigEndian.AppendUint16(body, uint16(size)), make([]byte, size)...)
	message, err := Edit(outer, func(list []Extension) []Extension { return append(list, Extension{ExtECH, body}) })
	if err != nil {
		return nil, err
	}
	sealed, err := s.sender.Seal(message[4:], encoded) // what is authenticated has zeros where the payload will be, which is at the end
	if err != nil {
		return nil, fmt.Errorf("sealing the inner hello: %w", err)
	}
	copy(message[len(message)-size:], sealed)
	s.enc = nil
	return message, nil
}

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
