package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Record types and the longest fragment of a plaintext record (RFC 9846 section 5.1), and of a protected one (5.2).
const (
	recordCCS         = 20
	recordAlert       = 21
	recordHandshake   = 22
	recordApplication = 23

	MaxFragment       = 1 << 14
	maxProtectedExtra = 256
)

// Record is one TLS record as it goes over the wire. The length field is that of the fragment, however wrong.
func Record(typ uint8, version uint16, fragment []byte) []byte {
	out := make([]byte, 5, 5+len(fragment))
	out[0] = typ
	binary.BigEndian.PutUint16(out[1:], version)
	binary.BigEndian.PutUint16(out[3:], uint16(len(fragment)))
	return append(out, fragment...)
}

// Records cuts a handshake message into records whose fragments have the given sizes; the last size is used for all that
// is left. Without a size the records are as long as the protocol allows.
func Records(msg []byte, sizes ...int) [][]byte {
	var out [][]byte
	for i := 0; len(msg) > 0; i++ {
		n := MaxFragment
		if len(sizes) > 0 {
			n = sizes[min(i, len(sizes)-1)]
		}
		n = max(1, min(n, len(msg)))
		out = append(out, Record(recordHandshake, 0x0301, msg[:n]))
		msg = msg[n:]
	}
	return out
}

// AlertError is an alert that the peer sent in the clear.
type AlertError struct{ Level, Code uint8 }

func (e *AlertError) Error() string {
	return fmt.Sprintf("remote alert %d (level %d)", e.Code, e.Level)
}

// RawRecord is one record that was read.
type RawRecord struct {
	Type     uint8
	Version  uint16
	Fragment []byte
}

// ReadRecord reads one record, at most 2^14+256 bytes of it. What does not look like a record is a *MalformedError with the bytes.
func ReadRecord(r io.Reader) (RawRecord, error) {
	var head [5]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		return RawRecord{}, fmt.Errorf("reading a record header (%d bytes came): %w", n, err)
	}
	size := int(binary.BigEndian.Uint16(head[3:]))
	if head[0] < recordCCS || head[0] > 24 || head[1] != 3 || size > MaxFragment+maxProtectedExtra {
		return RawRecord{}, &MalformedError{fmt.Sprintf("answer is not TLS: % x (%q)", head, head)}
	}
	rec := RawRecord{Type: head[0], Version: binary.BigEndian.Uint16(head[1:3]), Fragment: make([]byte, size)}
	if _, err := io.ReadFull(r, rec.Fragment); err != nil {
		return rec, fmt.Errorf("reading a record of %d bytes: %w", size, err)
	}
	return rec, nil
}

// ReadAnswer reads the first record that answers a ClientHello. An alert is returned as *AlertError, so that the caller sees
// either a ServerHello record or the way in which it was refused.
func ReadAnswer(r io.Reader) (RawRecord, error) {
	for range 4 {
		rec, err := ReadRecord(r)
		switch {
		case err != nil:
			return rec, err
		case rec.Type == recordAlert && len(rec.Fragment) == 2:
			return rec, &AlertError{Level: rec.Fragment[0], Code: rec.Fragment[1]}
		case rec.Type != recordCCS:
			return rec, nil
		}
	}
	return RawRecord{}, &MalformedError{"nothing but change_cipher_spec"}
}

// ServerHelloExtensions lists the types of the extensions of a ServerHello that stands at the beginning of a record's fragment.
func ServerHelloExtensions(fragment []byte) ([]uint16, error) {
	if len(fragment) < 4 || fragment[0] != 2 {
		return nil, &MalformedError{fmt.Sprintf("expected a ServerHello, got % x", fragment[:min(len(fragment), 8)])}
	}
	whole := reader{b: fragment[1:]}
	r := reader{b: whole.vector(3)}
	r.take(34)
	r.vector(1)
	r.take(3)
	if r.bad || whole.bad {
		return nil, &MalformedError{"ServerHello cut short"}
	}
	exts := reader{b: r.vector(2)}
	var types []uint16
	for len(exts.b) > 0 && !exts.bad {
		types = append(types, exts.word())
		exts.vector(2)
	}
	return types, nil
}
