package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrNeedMore says that the bytes so far are the beginning of a ClientHello.
var ErrNeedMore = errors.New("client hello: more bytes needed")

// MalformedError says that the bytes cannot be a ClientHello, whatever follows.
type MalformedError struct{ Reason string }

func (e *MalformedError) Error() string { return "client hello: " + e.Reason }

// MaxHello bounds the handshake message that ParseHello accepts, in bytes. A ClientHello with a 64 KiB extension fits.
const MaxHello = 1 << 18

// Hello is a ClientHello as it was on the wire. Slices share memory with the input except Message.
type Hello struct {
	// SNI is the first host_name; HasSNI tells an absent extension from an empty name.
	SNI    string
	HasSNI bool
	// ALPN is in the client's order, nil when the extension is absent.
	ALPN []string
	// Message is the handshake message with its four-byte header, put together from all records; Raw is every byte up to its
	// end, record headers included; Records is how many records it took.
	Message []byte
	Raw     []byte
	Records int
	Random  []byte
	// Versions and Groups are supported_versions and supported_groups, Suites the cipher suites.
	Versions, Groups, Suites []uint16
	// Extensions are the types in their order.
	Extensions []uint16
	HasECH     bool
	// InnerECH says that it is the inner hello of an encrypted one.
	InnerECH bool
}

// ParseHello reads a ClientHello from the raw bytes of a connection: any number of records, however cut. It returns the
// number of bytes up to the end of the message. The error is ErrNeedMore or *MalformedError.
func ParseHello(raw []byte) (Hello, int, error) {
	var msg []byte
	var need, pos, records int
	for {
		if len(raw)-pos < 5 {
			if len(raw) > pos && raw[pos] != recordHandshake {
				return Hello{}, 0, &MalformedError{fmt.Sprintf("record of type %d, not handshake", raw[pos])}
			}
			return Hello{}, 0, ErrNeedMore
		}
		head := raw[pos : pos+5]
		size := int(binary.BigEndian.Uint16(head[3:]))
		switch {
		case head[0] != recordHandshake:
			return Hello{}, 0, &MalformedError{fmt.Sprintf("record of type %d, not handshake", head[0])}
		case head[1] != 3:
			return Hello{}, 0, &MalformedError{fmt.Sprintf("record version %#04x", binary.BigEndian.Uint16(head[1:]))}
		case size == 0:
			return Hello{}, 0, &MalformedError{"handshake record of length zero"}
		case size > MaxFragment:
			return Hello{}, 0, &MalformedError{fmt.Sprintf("record of %d bytes", size)}
		}
		pos += 5
		records++
		for size > 0 {
			if pos == len(raw) {
				return Hello{}, 0, ErrNeedMore
			}
			take := min(size, len(raw)-pos)
			if need == 0 {
				take = min(take, 4-len(msg))
			} else {
				take = min(take, need-len(msg))
			}
			msg = append(msg, raw[pos:pos+take]...)
			pos += take
			size -= take
			if need == 0 && len(msg) == 4 {
				need = 4 + (int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3]))
				if msg[0] != 1 {
					return Hello{}, 0, &MalformedError{fmt.Sprintf("handshake message of type %d", msg[0])}
				}
				if need > MaxHello {
					return Hello{}, 0, &MalformedError{fmt.Sprintf("message of %d bytes", need)}
				}
			}
			if need > 0 && len(msg) == need {
				hello, err := ParseMessage(msg)
				hello.Raw, hello.Records = raw[:pos:pos], records
				return hello, pos, err
			}
		}
	}
}

// ParseMessage reads a ClientHello handshake message, its four-byte header included.
func ParseMessage(msg []byte) (Hello, error) {
	h := Hello{Message: msg}
	if len(msg) < 4 {
		return h, ErrNeedMore
	}
	r := reader{b: msg[4:]}
	r.take(2)
	h.Random = r.take(32)
	r.vector(1)
	suites := reader{b: r.vector(2)}
	r.vector(1)
	if r.bad {
		return h, &MalformedError{"cut short before the extensions"}
	}
	h.Suites = suites.words()
	if len(r.b) == 0 {
		return h, nil
	}
	ext := reader{b: r.vector(2)}
	if r.bad || len(r.b) != 0 {
		return h, &MalformedError{"length of the extensions does not fit the message"}
	}
	for len(ext.b) > 0 {
		typ := ext.word()
		body := reader{b: ext.vector(2)}
		if ext.bad {
			return h, &MalformedError{"extension cut short"}
		}
		h.Extensions = append(h.Extensions, typ)
		if err := h.extension(typ, body); err != nil {
			return h, err
		}
	}
	return h, nil
}

// The extensions that are looked into, or made.
const (
	ExtServerName        = 0
	ExtSupportedGroups   = 10
	ExtSignatures        = 13
	ExtALPN              = 16
	ExtPadding           = 21
	ExtPreSharedKey      = 41
	ExtEarlyData         = 42
	ExtSupportedVersions = 43
	ExtPSKModes          = 45
	ExtKeyShare          = 51
	ExtECH               = 0xfe0d
)

func (h *Hello) extension(typ uint16, body reader) error {
	switch typ {
	case ExtServerName:
		h.HasSNI = true
		list := reader{b: body.vector(2)}
		for len(list.b) > 0 && !list.bad {
			kind := list.take(1)
			name := list.vector(2)
			if !list.bad && kind[0] == 0 && h.SNI == "" {
				h.SNI = string(name)
			}
		}
		if body.bad || list.bad || len(body.b) != 0 || h.SNI == "" {
			return &MalformedError{"server_name does not parse"}
		}
	case ExtALPN:
		list := reader{b: body.vector(2)}
		for len(list.b) > 0 && !list.bad {
			h.ALPN = append(h.ALPN, string(list.vector(1)))
		}
		if body.bad || list.bad || len(body.b) != 0 || len(h.ALPN) == 0 {
			return &MalformedError{"application_layer_protocol_negotiation does not parse"}
		}
	case ExtSupportedGroups:
		list := reader{b: body.vector(2)}
		h.Groups = list.words()
	case ExtSupportedVersions:
		list := reader{b: body.vector(1)}
		h.Versions = list.words()
	case ExtECH:
		h.HasECH = true
		h.InnerECH = len(body.b) > 0 && body.b[0] == ECHInner
	}
	return nil
}

// reader takes bytes off the front; after the first shortage it is bad and gives nothing more.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) word() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) vector(prefix int) []byte {
	n := 0
	for _, c := range r.take(prefix) {
		n = n<<8 | int(c)
	}
	return r.take(n)
}

func (r *reader) words() []uint16 {
	var list []uint16
	for len(r.b) >= 2 {
		list = append(list, r.word())
	}
	return list
}
