package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
)

// Answer is the other side of Connect, for implementations that are to be told from one another by what they do about early data:
// crypto/tls ends a handshake that offers it. It confirms alpn, shows no certificate, and passes over the records that it cannot
// decrypt before the client's Finished (RFC 9846 section 4.3.10, the first of three ways); early, if not nil, is given these.
func Answer(conn net.Conn, hello Hello, alpn string, early func(fragment []byte)) (*Session, error) {
	peer, err := shareOf(hello)
	if err != nil {
		return nil, err
	}
	key, err := ecdh.X25519().NewPrivateKey(random(32))
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	secret, err := key.ECDH(peer)
	if err != nil {
		return nil, fmt.Errorf("making the shared secret: %w", err)
	}
	id := reader{b: hello.Message[38:]}
	sh := Handshake(2, slices.Concat([]byte{3, 3}, random(32), Vec(1, id.vector(1)), []byte{0x13, 1, 0}, Vec(2, encode([]Extension{
		{ExtSupportedVersions, []byte{3, 4}}, {ExtKeyShare, encode([]Extension{{29, key.PublicKey().Bytes()}})},
	}))))
	s := &Session{Conn: conn, hash: append(bytes.Clone(hello.Message), sh...), ALPN: alpn}
	handshake := extract(derive(extract(nil, make([]byte, 32)), "derived", sum(nil)), secret)
	client, server := derive(handshake, "c hs traffic", sum(s.hash)), derive(handshake, "s hs traffic", sum(s.hash))
	if s.in, err = newHalf(client); err != nil {
		return nil, err
	}
	if s.out, err = newHalf(server); err != nil {
		return nil, err
	}
	ee := Handshake(8, Vec(2, encode([]Extension{{ExtALPN, ALPNBody(alpn)}})))
	finished := Handshake(20, mac(server, append(s.hash, ee...)))
	s.hash = slices.Concat(s.hash, ee, finished)
	if _, err := conn.Write(Record(recordHandshake, 0x0303, sh)); err != nil {
		return nil, fmt.Errorf("sending the ServerHello: %w", err)
	}
	if err := s.write(recordHandshake, append(ee, finished...)); err != nil {
		return nil, err
	}
	if err := s.clientFinished(mac(client, s.hash), early); err != nil {
		return nil, err
	}
	master := extract(derive(handshake, "derived", sum(nil)), make([]byte, 32))
	if s.in, err = newHalf(derive(master, "c ap traffic", sum(s.hash))); err != nil {
		return nil, err
	}
	s.out, err = newHalf(derive(master, "s ap traffic", sum(s.hash)))
	return s, err
}

func shareOf(hello Hello) (*ecdh.PublicKey, error) {
	var share []byte
	_, err := Edit(hello.Message, func(list []Extension) []Extension {
		for _, e := range list {
			if e.Type != ExtKeyShare {
				continue
			}
			for all := (reader{b: e.Body[2:]}); len(all.b) > 0 && !all.bad; {
				if group, body := all.word(), all.vector(2); group == 29 {
					share = body
				}
			}
		}
		return list
	})
	if err != nil || share == nil {
		return nil, errors.Join(err, errors.New("no share of X25519"))
	}
	return ecdh.X25519().NewPublicKey(share)
}

// maxSkipped bounds the early data that is passed over, in records.
const maxSkipped = 64

func (s *Session) clientFinished(want []byte, early func([]byte)) error {
	for range maxSkipped {
		rec, err := ReadAnswer(s.Conn)
		if err != nil {
			return err
		}
		before := *s.in
		typ, data, err := s.openRecord(rec)
		switch {
		case err != nil:
			*s.in = before
			if early != nil {
				early(rec.Fragment)
			}
		case typ == recordHandshake && len(data) > 4 && data[0] == 20 && hmac.Equal(data[4:], want):
			return nil
		default:
			return &MalformedError{fmt.Sprintf("record of type %d, not Finished", typ)}
		}
	}
	return fmt.Errorf("more than %d records before Finished: %w", maxSkipped, io.ErrShortBuffer)
}
