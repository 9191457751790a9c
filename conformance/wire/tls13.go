package wire

import (
	"crypto/ecdh"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// Session is a TLS 1.3 connection made with a ClientHello of one's own, down to the last byte of it: what crypto/tls does not
// allow. It knows one cipher suite (TLS_AES_128_GCM_SHA256) and one group (X25519), and it does NOT verify the server's
// certificate: it tells how a server reacts to a hello, never who the server is.
type Session struct {
	net.Conn
	in, out  *half
	pending  []byte // plaintext not yet read
	messages []byte // handshake bytes not yet looked at
	hash     []byte // of the transcript, grows as raw bytes

	// What the server chose.
	Suite, Version, Group uint16
	ALPN                  string
	// EncryptedExtensions and ServerHello are the types of the extensions in these messages.
	EncryptedExtensions, ServerHello []uint16
	// RequestedCert says that the server asked for a client certificate.
	RequestedCert bool
}

// HelloTLS13 is a hello that Connect can finish, and its key.
func HelloTLS13(o HelloOptions) ([]byte, *ecdh.PrivateKey, error) {
	key, err := ecdh.X25519().NewPrivateKey(random(32))
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	o.Key = key
	if o.Override == nil {
		o.Override = []Extension{{ExtSupportedVersions, Vec(1, words(append(append([]uint16{}, o.Versions...), 0x0304)))}}
	}
	return NewHello(o), key, nil
}

// Connect finishes a handshake whose ClientHello the caller has written on conn: message is that hello without record headers,
// key its X25519 share. An alert in the clear or protected is an *AlertError, a HelloRetryRequest a *RetryError.
func Connect(conn net.Conn, message []byte, key *ecdh.PrivateKey) (*Session, error) {
	return connect(conn, append([]byte(nil), message...), key)
}

// connect goes on behind the ClientHello; transcript is all that has been said so far.
func connect(conn net.Conn, transcript []byte, key *ecdh.PrivateKey) (*Session, error) {
	s := &Session{Conn: conn, hash: transcript}
	rec, err := ReadAnswer(conn)
	if err != nil {
		return nil, err
	}
	if isRetry(rec.Fragment) {
		retry, err := parseRetry(rec.Fragment)
		return nil, errors.Join(&RetryError{retry}, err)
	}
	secret, err := s.serverHello(rec.Fragment, key)
	if err != nil {
		return nil, err
	}
	early := extract(nil, make([]byte, 32))
	handshake := extract(derive(early, "derived", sum(nil)), secret)
	client, server := derive(handshake, "c hs traffic", sum(s.hash)), derive(handshake, "s hs traffic", sum(s.hash))
	if s.in, err = newHalf(server); err != nil {
		return nil, err
	}
	if s.out, err = newHalf(client); err != nil {
		return nil, err
	}
	if err := s.flight(server); err != nil {
		return nil, err
	}
	master := extract(derive(handshake, "derived", sum(nil)), make([]byte, 32))
	finished := sum(s.hash)
	if s.RequestedCert {
		empty := Handshake(11, []byte{0, 0, 0, 0}) // no context, no certificates
		s.hash = append(s.hash, empty...)
		if err := s.write(recordHandshake, empty); err != nil {
			return nil, err
		}
	}
	if err := s.write(recordHandshake, Handshake(20, mac(client, s.hash))); err != nil {
		return nil, err
	}
	if s.in, err = newHalf(derive(master, "s ap traffic", finished)); err != nil {
		return nil, err
	}
	s.out, err = newHalf(derive(master, "c ap traffic", finished))
	return s, err
}

// serverHello reads the message and returns the shared secret.
func (s *Session) serverHello(msg []byte, key *ecdh.PrivateKey) ([]byte, error) {
	s.hash = append(s.hash, msg...)
	if len(msg) < 4 || msg[0] != 2 {
		return nil, &MalformedError{fmt.Sprintf("expected a ServerHello, got % x", msg[:min(len(msg), 8)])}
	}
	r := reader{b: msg[4:]}
	s.Version = r.word()
	r.take(32)
	r.vector(1)
	s.Suite = r.word()
	r.take(1)
	exts := reader{b: r.vector(2)}
	var share []byte
	for len(exts.b) > 0 && !exts.bad {
		typ, body := exts.word(), reader{b: exts.vector(2)}
		s.ServerHello = append(s.ServerHello, typ)
		switch typ {
		case ExtSupportedVersions:
			s.Version = body.word()
		case ExtKeyShare:
			s.Group = body.word()
			share = body.vector(2)
		}
	}
	if s.Version != 0x0304 || s.Suite != 0x1301 || s.Group != 29 || share == nil || exts.bad || r.bad {
		return nil, &MalformedError{fmt.Sprintf("server chose version %#04x, suite %#04x, group %#04x", s.Version, s.Suite, s.Group)}
	}
	peer, err := ecdh.X25519().NewPublicKey(share)
	if err != nil {
		return nil, fmt.Errorf("reading the server's share: %w", err)
	}
	return key.ECDH(peer)
}

// flight reads EncryptedExtensions to Finished, and checks the latter.
func (s *Session) flight(serverSecret []byte) error {
	for {
		msg, err := s.message()
		if err != nil {
			return err
		}
		switch msg[0] {
		case 8:
			if err := s.encryptedExtensions(msg[4:]); err != nil {
				return err
			}
		case 13:
			s.RequestedCert = true
		case 20:
			if !hmac.Equal(msg[4:], mac(serverSecret, s.hash)) {
				return errors.New("the server's Finished does not verify")
			}
			s.hash = append(s.hash, msg...)
			return nil
		}
		s.hash = append(s.hash, msg...)
	}
}

func (s *Session) encryptedExtensions(body []byte) error {
	r := reader{b: body}
	exts := reader{b: r.vector(2)}
	for len(exts.b) > 0 && !exts.bad {
		typ, ext := exts.word(), reader{b: exts.vector(2)}
		s.EncryptedExtensions = append(s.EncryptedExtensions, typ)
		if typ == ExtALPN {
			list := reader{b: ext.vector(2)}
			s.ALPN = string(list.vector(1))
		}
	}
	if r.bad || exts.bad {
		return &MalformedError{"EncryptedExtensions do not parse"}
	}
	return nil
}

// firstMessage takes the first handshake message, header included, if it is there as a whole; nil when more has to come.
func firstMessage(messages *[]byte) ([]byte, error) {
	have := *messages
	if len(have) < 4 {
		return nil, nil
	}
	size := 4 + (int(have[1])<<16 | int(have[2])<<8 | int(have[3]))
	if size > MaxHello {
		return nil, &MalformedError{fmt.Sprintf("handshake message of %d bytes", size)}
	}
	if len(have) < size {
		return nil, nil
	}
	*messages = have[size:]
	return have[:size:size], nil
}

// message is the next handshake message of the server, header included.
func (s *Session) message() ([]byte, error) {
	for {
		if msg, err := firstMessage(&s.messages); msg != nil || err != nil {
			return msg, err
		}
		typ, data, err := s.read()
		if err != nil {
			return nil, err
		}
		if typ != recordHandshake {
			return nil, &MalformedError{fmt.Sprintf("record of type %d in the handshake", typ)}
		}
		s.messages = append(s.messages, data...)
	}
}

// Read returns application data. close_notify is io.EOF; an end of the stream without it is io.ErrUnexpectedEOF, at a record
// boundary too. Tickets and other messages after the handshake are passed over.
func (s *Session) Read(p []byte) (int, error) {
	for len(s.pending) == 0 {
		typ, data, err := s.read()
		var alert *AlertError
		switch {
		case errors.As(err, &alert) && alert.Code == 0:
			return 0, io.EOF
		case errors.Is(err, io.EOF):
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
		if typ == recordApplication {
			s.pending = data
		}
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

func (s *Session) Write(p []byte) (int, error) {
	for off := 0; off < len(p); off += MaxFragment {
		if err := s.write(recordApplication, p[off:min(off+MaxFragment, len(p))]); err != nil {
			return off, err
		}
	}
	return len(p), nil
}

// CloseWrite sends close_notify.
func (s *Session) CloseWrite() error { return s.write(recordAlert, []byte{1, 0}) }

func (s *Session) read() (uint8, []byte, error) {
	rec, err := ReadAnswer(s.Conn)
	if err != nil {
		return 0, nil, err
	}
	return s.openRecord(rec)
}

// openRecord decrypts a record. The type it returns is the one inside.
func (s *Session) openRecord(rec RawRecord) (uint8, []byte, error) {
	if rec.Type != recordApplication {
		return 0, nil, &MalformedError{fmt.Sprintf("record of type %d in the clear after the ServerHello", rec.Type)}
	}
	head := binary.BigEndian.AppendUint16([]byte{recordApplication, 3, 3}, uint16(len(rec.Fragment)))
	data, err := s.in.aead.Open(nil, s.in.nonce(), rec.Fragment, head)
	if err != nil {
		return 0, nil, fmt.Errorf("opening a record: %w", err)
	}
	for len(data) > 0 && data[len(data)-1] == 0 {
		data = data[:len(data)-1]
	}
	if len(data) == 0 {
		return 0, nil, &MalformedError{"protected record without a type"}
	}
	typ, data := data[len(data)-1], data[:len(data)-1]
	if typ == recordAlert && len(data) == 2 {
		return typ, nil, &AlertError{data[0], data[1]}
	}
	return typ, data, nil
}

func (s *Session) write(typ uint8, data []byte) error {
	inner := append(append([]byte(nil), data...), typ)
	head := binary.BigEndian.AppendUint16([]byte{recordApplication, 3, 3}, uint16(len(inner)+16))
	_, err := s.Conn.Write(s.out.aead.Seal(head, s.out.nonce(), inner, head))
	return err
}
