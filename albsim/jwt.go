package albsim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Tokens are JWTs in the compact form of RFC 7515 section 7.1. Of its algorithms AWS takes RS256 alone, and signs what it gives to
// targets by ES256 with padding, which is in no library: with the standard library's cryptography both are a few lines.

// jwt is one that was understood. Its signature has not been looked at.
type jwt struct {
	header struct {
		Algorithm string          `json:"alg"`
		KeyID     string          `json:"kid"`
		Critical  json.RawMessage `json:"crit"`
	}
	claims    map[string]any
	signed    string
	signature []byte
}

func parseToken(s string) (*jwt, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts with dots between")
	}
	t := &jwt{signed: parts[0] + "." + parts[1]}
	if err := decodePart(parts[0], &t.header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := decodePart(parts[1], &t.claims); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if t.claims == nil {
		return nil, errors.New("the claims are no object")
	}
	var err error
	t.signature, err = base64.RawURLEncoding.DecodeString(parts[2])
	return t, err
}

func decodePart(part string, v any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // a float64 would be the same for times, and wrong for other claims
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more than one value")
	}
	return nil
}

// verify looks at the signature: RS256 is RFC 7518 section 3.3.
func (t *jwt) verify(key *rsa.PublicKey) error {
	switch {
	case t.header.Algorithm != "RS256":
		return fmt.Errorf("algorithm %.20q is not RS256", t.header.Algorithm)
	case t.header.Critical != nil: // RFC 7515 section 4.1.11: none is understood
		return errors.New("critical header parameters")
	case key == nil:
		return fmt.Errorf("no key %.100q", t.header.KeyID)
	}
	sum := sha256.Sum256([]byte(t.signed))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.signature)
}

// seconds is a claim that is a time (NumericDate); missing is false for present.
func (t *jwt) seconds(name string) (at float64, present, ok bool) {
	v, present := t.claims[name]
	if !present {
		return 0, false, false
	}
	n, ok := v.(json.Number)
	if !ok {
		return 0, true, false
	}
	at, err := n.Float64()
	return at, true, err == nil
}

// jwks is a set of keys: RFC 7517 section 5.
type jwks struct {
	Keys []struct {
		Type      string `json:"kty"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Modulus   string `json:"n"`
		Exponent  string `json:"e"`
	} `json:"keys"`
}

// AWS's limits of a set: D, listener-verify-jwt.
const (
	maxKeySet = 150 << 10
	maxKeys   = 10
)

// rsaKeys are the keys of a set that RS256 may be verified by, by their names.
func rsaKeys(raw []byte) (map[string]*rsa.PublicKey, error) {
	var set jwks
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, and at most %d are taken", len(set.Keys), maxKeys)
	}
	out := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if k.Type != "RSA" || k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != "RS256" {
			continue
		}
		n, err := base64.RawURLEncoding.DecodeString(k.Modulus)
		if err != nil {
			return nil, fmt.Errorf("key %.100q: %w", k.KeyID, err)
		}
		e, err := base64.RawURLEncoding.DecodeString(k.Exponent)
		if err != nil || len(e) > 4 {
			return nil, fmt.Errorf("key %.100q: exponent %.20q", k.KeyID, k.Exponent)
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		if key.N.BitLen() < 2048 { // RFC 7518 section 3.3
			continue
		}
		out[k.KeyID] = key
	}
	return out, nil
}
