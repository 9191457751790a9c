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

// The extensions that TLS 1.2 needs beside those of build.go.
const (
	extPointFormats  = 11
	extMasterSecret  = 23     // RFC 7627
	ExtRenegotiation = 0xff01 // RFC 5746
)

// Session12 is a TLS 1.2 connection made with hellos of one's own, which can begin a second handshake inside the first. It knows
// ECDHE with X25519 and AES-128-GCM, and like Session it does NOT verify the server's certificate.
type Session12 struct {
	net.Conn
	in, out  *half12
	pending  []byte // plaintext not yet read
	messages []byte // handshake bytes not yet looked at
	hash     []byte // of the transcript, grows as raw bytes

	clientRandom, serverRandom []byte
	extended                   bool // RFC 7627
	requested                  bool // a client certificate
	peer                       *ecdh.PublicKey
	verify                     []byte // of the client's Finished

	// ALPN is what the server confirmed.
	ALPN string
}

// HelloTLS12 is a ClientHello that Connect12 can finish. The extensions in last are put behind its own.
func HelloTLS12(sni string, alpn []string, last ...Extension) []byte {
	exts := []Extension{
		{ExtServerName, SNIBody(sni)},
		{ExtSupportedGroups, Vec(2, words([]uint16{29, 23}))}, // the second is for certificates of that curve: RFC 8422, section 5.1
		{extPointFormats, []byte{1, 0}},
		{ExtSignatures, Vec(2, words([]uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501}))},
		{ExtALPN, ALPNBody(alpn...)},
		{extMasterSecret, []byte{}},
	}
	body := slices.Concat([]byte{3, 3}, random(32), Vec(1, nil), Vec(2, words([]uint16{0xc02b, 0xc02f})), []byte{1, 0})
	return Handshake(1, append(body, Vec(2, encode(append(exts, last...)))...))
}

// Connect12 does a TLS 1.2 handshake. A server that speaks another version answers with an *AlertError or a *MalformedError.
func Connect12(conn net.Conn, sni string, alpn ...string) (*Session12, error) {
	msg := HelloTLS12(sni, alpn, Extension{ExtRenegotiation, []byte{0}})
	s := &Session12{Conn: conn, hash: bytes.Clone(msg), clientRandom: msg[6:38]}
	if _, err := conn.Write(Record(recordHandshake, 0x0301, msg)); err != nil {
		return nil, fmt.Errorf("sending the ClientHello: %w", err)
	}
	if err := s.flight(); err != nil {
		return nil, err
	}
	return s, s.finish()
}

// flight reads ServerHello to ServerHelloDone.
func (s *Session12) flight() error {
	for {
		msg, err := s.message()
		if err != nil {
			return err
		}
		s.hash = append(s.hash, msg...)
		switch msg[0] {
		case 2:
			err = s.serverHello(msg[4:])
		case 12:
			err = s.serverKey(msg[4:])
		case 13:
			s.requested = true
		case 14:
			if s.peer == nil {
				return &MalformedError{"ServerHelloDone without a ServerKeyExchange"}
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *Session12) serverHello(body []byte) error {
	r := reader{b: body}
	version := r.word()
	s.serverRandom = r.take(32)
	r.vector(1)
	suite := r.word()
	r.take(1)
	if r.bad || version != 0x0303 || suite != 0xc02b && suite != 0xc02f {
		return &MalformedError{fmt.Sprintf("server chose version %#04x, suite %#04x", version, suite)}
	}
	for exts := (reader{b: r.vector(2)}); len(exts.b) > 0; {
		typ, ext := exts.word(), reader{b: exts.vector(2)}
		switch typ {
		case extMasterSecret:
			s.extended = true
		case ExtALPN:
			list := reader{b: ext.vector(2)}
			s.ALPN = string(list.vector(1))
		}
	}
	return nil
}

func (s *Session12) serverKey(body []byte) error {
	r := reader{b: body}
	kind := r.take(1)
	group := r.word()
	point := r.vector(1)
	if r.bad || kind[0] != 3 || group != 29 {
		return &MalformedError{fmt.Sprintf("server chose group %d", group)}
	}
	var err error
	if s.peer, err = ecdh.X25519().NewPublicKey(point); err != nil {
		return fmt.Errorf("reading the server's share: %w", err)
	}
	return nil
}

// finish sends the client's flight and reads the server's Finished.
func (s *Session12) finish() error {
	key, err := ecdh.X25519().NewPrivateKey(random(32))
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	secret, err := key.ECDH(s.peer)
	if err != nil {
		return fmt.Errorf("making the shared secret: %w", err)
	}
	var own []byte
	if s.requested {
		own = Handshake(11, Vec(3, nil)) // none
	}
	own = append(own, Handshake(16, Vec(1, key.PublicKey().Bytes()))...)
	s.hash = append(s.hash, own...)
	master := prf(secret, "master secret", slices.Concat(s.clientRandom, s.serverRandom), 48)
	if s.extended {
		master = prf(secret, "extended master secret", sum(s.hash), 48)
	}
	s.verify = prf(master, "client finished", sum(s.hash), 12)
	finished := Handshake(20, s.verify)
	block := prf(master, "key expansion", slices.Concat(s.serverRandom, s.clientRandom), 2*16+2*4)
	if s.out, err = newHalf12(block[:16], block[32:36]); err != nil {
		return err
	}
	if _, err := s.Conn.Write(slices.Concat(Record(recordHandshake, 0x0303, own), Record(recordCCS, 0x0303, []byte{1}), s.out.seal(recordHandshake, finished))); err != nil {
		return fmt.Errorf("sending Finished: %w", err)
	}
	s.hash = append(s.hash, finished...)
	if rec, err := ReadRecord(s.Conn); err != nil {
		return err
	} else if rec.Type != recordCCS {
		return unless12(rec)
	}
	if s.in, err = newHalf12(block[16:32], block[36:]); err != nil {
		return err
	}
	msg, err := s.message()
	if err == nil && (msg[0] != 20 || !hmac.Equal(msg[4:], prf(master, "server finished", sum(s.hash), 12))) {
		err = errors.New("the server's Finished does not verify")
	}
	return err
}

// unless12 is the error that a record in the clear is, in the place of another.
func unless12(rec RawRecord) error {
	if rec.Type == recordAlert && len(rec.Fragment) == 2 {
		return &AlertError{rec.Fragment[0], rec.Fragment[1]}
	}
	return &MalformedError{fmt.Sprintf("record of type %d in the handshake", rec.Type)}
}

// message is the next handshake message of the server, header included.
func (s *Session12) message() ([]byte, error) {
	for {
		if msg, err := firstMessage(&s.messages); msg != nil || err != nil {
			return msg, err
		}
		rec, err := s.Next()
		if err != nil {
			return nil, err
		}
		if rec.Type != recordHandshake {
			return nil, unless12(rec)
		}
		s.messages = append(s.messages, rec.Fragment...)
	}
}

// Next is the next record, decrypted once there are keys. An alert is an *AlertError.
func (s *Session12) Next() (RawRecord, error) {
	rec, err := ReadRecord(s.Conn)
	if err != nil {
		return rec, err
	}
	if s.in != nil {
		if rec.Fragment, err = s.in.open(rec); err != nil {
			return rec, err
		}
	}
	if rec.Type == recordAlert {
		return rec, unless12(rec)
	}
	return rec, nil
}

// Renegotiate sends a second ClientHello inside the session, bound to it as RFC 5746 section 3.5 has it.
func (s *Session12) Renegotiate(sni string, alpn ...string) error {
	msg := HelloTLS12(sni, alpn, Extension{ExtRenegotiation, Vec(1, s.verify)})
	_, err := s.Conn.Write(s.out.seal(recordHandshake, msg))
	return err
}

// Read returns application data. close_notify is io.EOF, an end without it io.ErrUnexpectedEOF.
func (s *Session12) Read(p []byte) (int, error) {
	for len(s.pending) == 0 {
		rec, err := s.Next()
		alert, ok := errors.AsType[*AlertError](err)
		switch {
		case ok && alert.Code == 0:
			return 0, io.EOF
		case errors.Is(err, io.EOF):
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case rec.Type == recordApplication:
			s.pending = rec.Fragment
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

func (s *Session12) Write(p []byte) (int, error) {
	for off := 0; off < len(p); off += MaxFragment {
		if _, err := s.Conn.Write(s.out.seal(recordApplication, p[off:min(off+MaxFragment, len(p))])); err != nil {
			return off, err
		}
	}
	return len(p), nil
}
