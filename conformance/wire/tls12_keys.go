package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// half12 is one direction of AES-128-GCM in TLS 1.2: RFC 5288 section 3.
type half12 struct {
	aead cipher.AEAD
	salt []byte
	seq  uint64
}

func newHalf12(key, salt []byte) (*half12, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return &half12{aead: aead, salt: salt}, err
}

const explicitNonce = 8

// additional is what is authenticated beside the data (RFC 5246 section 6.2.3.3), and counts the record.
func (h *half12) additional(typ uint8, size int) []byte {
	out := binary.BigEndian.AppendUint64(nil, h.seq)
	h.seq++
	return binary.BigEndian.AppendUint16(append(out, typ, 3, 3), uint16(size))
}

// seal is data as a record.
func (h *half12) seal(typ uint8, data []byte) []byte {
	nonce := binary.BigEndian.AppendUint64(nil, h.seq)
	sealed := h.aead.Seal(nonce, append(append([]byte(nil), h.salt...), nonce...), data, h.additional(typ, len(data)))
	return Record(typ, 0x0303, sealed)
}

func (h *half12) open(rec RawRecord) ([]byte, error) {
	size := len(rec.Fragment) - explicitNonce - h.aead.Overhead()
	if size < 0 {
		return nil, &MalformedError{fmt.Sprintf("protected record of %d bytes", len(rec.Fragment))}
	}
	nonce := append(append([]byte(nil), h.salt...), rec.Fragment[:explicitNonce]...)
	data, err := h.aead.Open(nil, nonce, rec.Fragment[explicitNonce:], h.additional(rec.Type, size))
	if err != nil {
		return nil, fmt.Errorf("opening a record: %w", err)
	}
	return data, nil
}

// prf is that of RFC 5246 section 5, with SHA-256.
func prf(secret []byte, label string, seed []byte, size int) []byte {
	hash := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	seed = append([]byte(label), seed...)
	var out []byte
	for a := hash(seed); len(out) < size; a = hash(a) {
		out = append(out, hash(a, seed)...)
	}
	return out[:size]
}
