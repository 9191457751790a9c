package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
)

// extRenegotiation is renegotiation_info (RFC 5746 section 3.2).
const extRenegotiation = 0xff01

// Renegotiator is a TLS 1.2 session that can ask for another handshake within itself, which crypto/tls never does. It carries no
// application data.
type Renegotiator struct {
	conn     net.Conn
	key      cipher.AEAD
	iv       []byte
	verify   []byte // our Finished
	sequence uint64
}

// NewRenegotiator does a handshake with cfg, its version, suites and key log replaced.
func NewRenegotiator(conn net.Conn, cfg *tls.Config) (*Renegotiator, error) {
	tap := &tapped{Conn: conn}
	var log bytes.Buffer
	cfg = cfg.Clone()
	cfg.MinVersion, cfg.MaxVersion, cfg.KeyLogWriter = tls.VersionTLS12, tls.VersionTLS12, &log
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if err := tls.Client(tap, cfg).Handshake(); err != nil {
		return nil, err
	}
	parts := strings.Fields(log.String())
	if len(parts) < 3 || parts[0] != "CLIENT_RANDOM" {
		return nil, errors.New("renegotiating: no key was logged")
	}
	client, err := hex.DecodeString(parts[1])
	master, masterErr := hex.DecodeString(parts[2])
	const random = 5 + 4 + 2 // behind the headers of record and message, and the version
	if err = errors.Join(err, masterErr); err != nil || len(tap.in) < random+32 {
		return nil, fmt.Errorf("renegotiating: no server random: %w", err)
	}
	server := tap.in[random : random+32]
	block := prf(master, "key expansion", append(append([]byte(nil), server...), client...), 2*16+2*4) // RFC 5246 section 6.3, RFC 5288
	cipherBlock, err := aes.NewCipher(block[:16])
	if err != nil {
		return nil, fmt.Errorf("renegotiating: %w", err)
	}
	r := &Renegotiator{conn: conn, iv: block[32:36]}
	if r.key, err = cipher.NewGCM(cipherBlock); err != nil {
		return nil, fmt.Errorf("renegotiating: %w", err)
	}
	return r, r.readFinished(tap.out)
}

// readFinished finds our own Finished, the last record that was sent: its verify_data goes into the next ClientHello.
func (r *Renegotiator) readFinished(sent []byte) error {
	var last RawRecord
	for from := bytes.NewReader(sent); from.Len() > 0; {
		rec, err := ReadRecord(from)
		if err != nil {
			return fmt.Errorf("renegotiating: what was sent: %w", err)
		}
		last = rec
	}
	const explicit = 8
	if last.Type != recordHandshake || len(last.Fragment) < explicit+16 {
		return errors.New("renegotiating: the last record that was sent is no Finished")
	}
	nonce := append(append([]byte(nil), r.iv...), last.Fragment[:explicit]...)
	plain, err := r.key.Open(nil, nonce, last.Fragment[explicit:], r.additional(recordHandshake, len(last.Fragment)-explicit-r.key.Overhead()))
	if err != nil || len(plain) != 4+12 || plain[0] != 20 {
		return fmt.Errorf("renegotiating: our Finished cannot be read: %w", err)
	}
	r.verify, r.sequence = plain[4:], 1
	return nil
}

// additional is the data that a record is sealed with (RFC 5246 section 6.2.3.3).
func (r *Renegotiator) additional(typ uint8, size int) []byte {
	out := binary.BigEndian.AppendUint64(nil, r.sequence)
	return binary.BigEndian.AppendUint16(append(out, typ, 3, 3), uint16(size))
}

// Renegotiate sends a ClientHello in the session, with what RFC 5746 section 3.5 asks for, and returns the type of the record that
// comes back: 22 is a handshake, 21 an alert.
func (r *Renegotiator) Renegotiate(sni string) (uint8, error) {
	hello := NewHello(HelloOptions{SNI: sni, Override: []Extension{
		{ExtSupportedVersions, nil}, {ExtKeyShare, nil}, {extRenegotiation, Vec(1, r.verify)},
	}})
	explicit := binary.BigEndian.AppendUint64(nil, r.sequence)
	sealed := r.key.Seal(explicit, append(append([]byte(nil), r.iv...), explicit...), hello, r.additional(recordHandshake, len(hello)))
	if _, err := r.conn.Write(Record(recordHandshake, 0x0303, sealed)); err != nil {
		return 0, err
	}
	rec, err := ReadRecord(r.conn)
	return rec.Type, err
}

// prf is that of TLS 1.2 with SHA-256 (RFC 5246 section 5).
func prf(secret []byte, label string, seed []byte, size int) []byte {
	seed = append([]byte(label), seed...)
	sum := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < size; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:size]
}

// tapped keeps what passes, in both directions. It is for a handshake, which is small.
type tapped struct {
	net.Conn
	in, out []byte
}

func (t *tapped) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.in = append(t.in, p[:n]...)
	return n, err
}

func (t *tapped) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.out = append(t.out, p[:n]...)
	return n, err
}
