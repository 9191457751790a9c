package wire

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
)

// Extension is one extension of a ClientHello, its body as it goes over the wire.
type Extension struct {
	Type uint16
	Body []byte
}

// HelloOptions says what NewHello builds. The zero value is a good TLS 1.3 ClientHello without a name and without ALPN.
type HelloOptions struct {
	SNI  string
	ALPN []string
	// Override replaces or adds extensions by type, in place of what the options above would give; a nil Body leaves one out.
	Override []Extension
	// First and Last are put before and behind all others, without regard to duplicates.
	First, Last []Extension
	// PadTo is the length of the whole message; the padding extension fills it up. Nothing is cut when it is too small.
	PadTo int
	// Suites, Groups and Versions are put before the good ones.
	Suites, Groups, Versions []uint16
	// Key is the X25519 share; a fresh one is made, and cannot be used by the caller, when it is nil.
	Key *ecdh.PrivateKey
	// KeyShares are put before the X25519 one.
	KeyShares []Extension
	// SessionID is 32 random bytes when nil.
	SessionID []byte
}

// NewHello builds a ClientHello handshake message with its four-byte header. Random bytes come from crypto/rand.
func NewHello(o HelloOptions) []byte {
	body := []byte{3, 3}
	body = append(body, random(32)...)
	id := o.SessionID
	if id == nil {
		id = random(32)
	}
	body = append(body, Vec(1, id)...)
	suites := append(append([]uint16{}, o.Suites...), 0x1301, 0xc02b, 0xc02f, 0xc02c, 0xc030)
	body = append(body, Vec(2, words(suites))...)
	body = append(body, 1, 0)
	exts := o.extensions()
	encoded := encode(exts)
	if pad := o.PadTo - (4 + len(body) + 2 + len(encoded) + 4); o.PadTo > 0 && pad >= 0 {
		encoded = append(encoded, encode([]Extension{{ExtPadding, make([]byte, pad)}})...)
	}
	body = append(body, Vec(2, encoded)...)
	return Handshake(1, body)
}

func (o HelloOptions) extensions() []Extension {
	key := o.Key
	if key == nil {
		key, _ = ecdh.X25519().GenerateKey(rand.Reader)
	}
	var list []Extension
	if o.SNI != "" {
		list = append(list, Extension{ExtServerName, SNIBody(o.SNI)})
	}
	groups := append(append([]uint16{}, o.Groups...), 29, 23, 24)
	list = append(list,
		Extension{ExtSupportedGroups, Vec(2, words(groups))},
		Extension{ExtSignatures, Vec(2, words([]uint16{0x0403, 0x0804, 0x0807, 0x0401, 0x0503, 0x0805}))},
	)
	if len(o.ALPN) > 0 {
		list = append(list, Extension{ExtALPN, ALPNBody(o.ALPN...)})
	}
	versions := append(append([]uint16{}, o.Versions...), 0x0304, 0x0303)
	list = append(list, Extension{ExtSupportedVersions, Vec(1, words(versions))})
	shares := encode(append(append([]Extension{}, o.KeyShares...), Extension{29, key.PublicKey().Bytes()}))
	list = append(list, Extension{ExtKeyShare, Vec(2, shares)})
	for _, over := range o.Override {
		list = replace(list, over)
	}
	return append(append(append([]Extension{}, o.First...), list...), o.Last...)
}

func replace(list []Extension, over Extension) []Extension {
	out := list[:0]
	found := false
	for _, e := range list {
		if e.Type == over.Type {
			found = true
			if over.Body == nil {
				continue
			}
			e.Body = over.Body
		}
		out = append(out, e)
	}
	if !found && over.Body != nil {
		out = append(out, over)
	}
	return out
}

// SNIBody is the body of a server_name extension with these host names.
func SNIBody(names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(append(list, 0), Vec(2, []byte(n))...)
	}
	return Vec(2, list)
}

// ALPNBody is the body of an ALPN extension.
func ALPNBody(names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(list, Vec(1, []byte(n))...)
	}
	return Vec(2, list)
}

// Handshake is a handshake message of that type.
func Handshake(typ uint8, body []byte) []byte {
	return append([]byte{typ}, Vec(3, body)...)
}

// Vec is body behind its length in prefix bytes.
func Vec(prefix int, body []byte) []byte {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(body)))
	return append(append(make([]byte, 0, prefix+len(body)), n[8-prefix:]...), body...)
}

// GREASE lists the sixteen reserved values of RFC 8701.
func GREASE() []uint16 {
	list := make([]uint16, 16)
	for i := range list {
		list[i] = uint16(i)<<12 | 0x0a00 | uint16(i)<<4 | 0x0a
	}
	return list
}

func encode(exts []Extension) []byte {
	var out []byte
	for _, e := range exts {
		out = append(binary.BigEndian.AppendUint16(out, e.Type), Vec(2, e.Body)...)
	}
	return out
}

func words(list []uint16) []byte {
	var out []byte
	for _, w := range list {
		out = binary.BigEndian.AppendUint16(out, w)
	}
	return out
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process rather than return an error
	return b
}
