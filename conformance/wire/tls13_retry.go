package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
)

// extCookie is that of RFC 9846 section 4.3.2.
const extCookie = 44

// retryRandom tells a HelloRetryRequest from a ServerHello (RFC 9846 section 4.2.3).
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// Retry is a HelloRetryRequest.
type Retry struct {
	Message []byte // the handshake message, header included
	Group   uint16 // the one that is asked for, 0 when none is
	Cookie  []byte // the body of the cookie extension, nil without one
}

// RetryError says that a HelloRetryRequest came where a ServerHello would have done.
type RetryError struct{ Retry Retry }

func (e *RetryError) Error() string { return "the server asks for another ClientHello" }

// HelloWithoutShare is a ClientHello that offers X25519 and no share of it, and the key for the share to come. A server that speaks
// TLS 1.3 must answer it with a HelloRetryRequest (RFC 9846 section 4.2.1).
func HelloWithoutShare(o HelloOptions) ([]byte, *ecdh.PrivateKey, error) {
	msg, key, err := HelloTLS13(o)
	if err != nil {
		return nil, nil, err
	}
	msg, err = Edit(msg, func(list []Extension) []Extension {
		return Set(Set(list, Extension{ExtKeyShare, Vec(2, nil)}), Extension{ExtSupportedGroups, Vec(2, words([]uint16{29}))})
	})
	return msg, key, err
}

// ReadRetry reads the answer to such a hello. A ServerHello in its place is a *MalformedError.
func ReadRetry(conn io.Reader) (Retry, error) {
	rec, err := ReadAnswer(conn)
	if err != nil {
		return Retry{}, err
	}
	if !isRetry(rec.Fragment) {
		return Retry{}, &MalformedError{fmt.Sprintf("expected a HelloRetryRequest, got % x", rec.Fragment[:min(len(rec.Fragment), 8)])}
	}
	return parseRetry(rec.Fragment)
}

func isRetry(m []byte) bool { return len(m) >= 38 && m[0] == 2 && bytes.Equal(m[6:38], retryRandom[:]) }

func parseRetry(m []byte) (Retry, error) {
	r := Retry{Message: m}
	body := reader{b: m[38:]}
	body.vector(1)
	body.take(3)
	exts := reader{b: body.vector(2)}
	for len(exts.b) > 0 && !exts.bad {
		typ, ext := exts.word(), exts.vector(2)
		switch typ {
		case ExtKeyShare:
			group := reader{b: ext}
			r.Group = group.word()
		case extCookie:
			r.Cookie = ext
		}
	}
	if body.bad || exts.bad {
		return r, &MalformedError{"HelloRetryRequest does not parse"}
	}
	return r, nil
}

// Again is the second ClientHello: the first with the share that was asked for, and the cookie (RFC 9846 section 4.2.2).
func (r Retry) Again(first []byte, key *ecdh.PrivateKey) ([]byte, error) {
	if r.Group != 29 {
		return nil, &MalformedError{fmt.Sprintf("the HelloRetryRequest asks for group %d, which was not offered", r.Group)}
	}
	share := Vec(2, encode([]Extension{{29, key.PublicKey().Bytes()}}))
	return Edit(first, func(list []Extension) []Extension {
		return Set(Set(list, Extension{ExtKeyShare, share}), Extension{extCookie, r.Cookie})
	})
}

// Connect finishes the handshake as the function of that name does, behind both hellos (RFC 9846 section 4.1: the first is a hash
// by now).
func (r Retry) Connect(conn net.Conn, first, second []byte, key *ecdh.PrivateKey) (*Session, error) {
	transcript := Handshake(254, sum(first))
	transcript = append(append(transcript, r.Message...), second...)
	return connect(conn, transcript, key)
}
