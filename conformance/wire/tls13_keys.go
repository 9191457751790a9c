package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// half is one direction: RFC 9846 section 5.3 for the nonce.
type half struct {
	aead cipher.AEAD
	iv   []byte
	seq  uint64
}

func newHalf(secret []byte) (*half, error) {
	block, err := aes.NewCipher(expand(secret, "key", nil, 16))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return &half{aead: aead, iv: expand(secret, "iv", nil, 12)}, err
}

func (h *half) nonce() []byte {
	nonce := append([]byte(nil), h.iv...)
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], h.seq)
	for i, b := range seq {
		nonce[4+i] ^= b
	}
	h.seq++
	return nonce
}

// The key schedule of RFC 9846 section 7.1, for SHA-256.

func extract(salt, secret []byte) []byte {
	out, _ := hkdf.Extract(sha256.New, secret, salt) // fails only in FIPS mode, for short keys
	return out
}

func expand(secret []byte, label string, context []byte, size int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, Vec(1, []byte("tls13 "+label))...)
	info = append(info, Vec(1, context)...)
	out, _ := hkdf.Expand(sha256.New, secret, string(info), size) // as above
	return out
}

func derive(secret []byte, label string, transcript []byte) []byte {
	return expand(secret, label, transcript, 32)
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}

func mac(secret, transcript []byte) []byte {
	h := hmac.New(sha256.New, expand(secret, "finished", nil, 32))
	h.Write(sum(transcript))
	return h.Sum(nil)
}
