package clienthello

import "fmt"

// Info is what a router needs of a ClientHello.
type Info struct {
	ServerName        string   // as sent; "" = the extension is absent (an empty name is refused)
	ALPN              []string // in the client's order; nil = the extension is absent
	SupportedVersions []uint16 // nil = the extension is absent
	HasECH            bool     // an encrypted_client_hello extension is there, real or GREASE
	InnerECH          bool     // it says that this is an inner hello, which is for a backend behind whoever decrypted it
	Raw               []byte   // the handshake message, its 4-byte header included, without record headers
}

// Extension types that are looked into.
const (
	extServerName        = 0
	extALPN              = 16
	extPreSharedKey      = 41
	extSupportedVersions = 43
	extECH               = 0xfe0d // RFC 9849
	echInner             = 1      // its ECHClientHelloType, section 5
)

func decodeError(format string, args ...any) *Error {
	return &Error{Alert: AlertDecodeError, Reason: fmt.Sprintf(format, args...)}
}

func illegal(format string, args ...any) *Error {
	return &Error{Alert: AlertIllegalParameter, Reason: fmt.Sprintf(format, args...)}
}

func unexpected(format string, args ...any) *Error {
	return &Error{Alert: AlertUnexpectedMessage, Reason: fmt.Sprintf(format, args...)}
}

// Parse reads one complete ClientHello handshake message, header included. An error is always an *Error. Info.Raw is message.
func Parse(message []byte) (*Info, error) {
	info, bad := parse(message)
	if bad != nil { // a nil *Error in an error would not be nil
		return nil, bad
	}
	return info, nil
}

func parse(message []byte) (*Info, *Error) {
	c := cursor{message}
	typ, ok := c.uint(1)
	if !ok {
		return nil, decodeError("empty message")
	}
	if typ != messageClientHello {
		return nil, unexpected("handshake message of type %d", typ)
	}
	body, ok := c.vector(3)
	if !ok || len(c.b) > 0 {
		return nil, decodeError("message length does not fit")
	}
	c = cursor{body}
	if !c.skip(2 + 32) { // legacy_version, random
		return nil, decodeError("client hello ends before the session id")
	}
	if id, ok := c.vector(1); !ok || len(id) > 32 {
		return nil, decodeError("session id out of range")
	}
	if suites, ok := c.vector(2); !ok || len(suites) == 0 || len(suites)%2 != 0 {
		return nil, decodeError("cipher suites out of range")
	}
	if comp, ok := c.vector(1); !ok || len(comp) == 0 {
		return nil, decodeError("compression methods out of range")
	}
	info := &Info{Raw: message}
	if len(c.b) == 0 {
		return info, nil // TLS 1.2 allows a hello without extensions
	}
	extensions, ok := c.vector(2)
	if !ok || len(c.b) > 0 {
		return nil, decodeError("length of the extensions does not fit")
	}
	return info, info.extensions(extensions)
}

// extensions fills info. The answers to duplicates and to a pre_shared_key that is not the last: RFC 9846 sections 4.3, 4.3.11.
func (info *Info) extensions(block []byte) *Error {
	seen := make(map[uint64]struct{}, 24)
	for c := (cursor{block}); len(c.b) > 0; {
		typ, ok := c.uint(2)
		if !ok {
			return decodeError("extension header is cut off")
		}
		data, ok := c.vector(2)
		if !ok {
			return decodeError("extension %d is cut off", typ)
		}
		if _, dup := seen[typ]; dup {
			return illegal("extension %d comes twice", typ)
		}
		seen[typ] = struct{}{}
		var bad *Error
		switch typ {
		case extServerName:
			info.ServerName, bad = parseServerName(data)
		case extALPN:
			info.ALPN, bad = parseALPN(data)
		case extSupportedVersions:
			info.SupportedVersions, bad = parseVersions(data)
		case extECH:
			info.HasECH = true
			if len(data) == 0 {
				bad = decodeError("encrypted_client_hello is empty")
			} else {
				info.InnerECH = data[0] == echInner
			}
		case extPreSharedKey:
			if len(c.b) > 0 {
				bad = illegal("pre_shared_key is not the last extension")
			}
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}

// parseServerName: RFC 6066 section 3. A length out of range is decode_error, a name that cannot be one illegal_parameter.
func parseServerName(data []byte) (string, *Error) {
	c := cursor{data}
	list, ok := c.vector(2)
	if !ok || len(c.b) > 0 || len(list) == 0 {
		return "", decodeError("server_name: length of the list does not fit")
	}
	host := ""
	for c = (cursor{list}); len(c.b) > 0; {
		typ, _ := c.uint(1)
		name, ok := c.vector(2) // "all future data structures ... MUST begin with a 16-bit length field"
		if !ok {
			return "", decodeError("server_name: name is cut off")
		}
		if typ != 0 {
			continue
		}
		if host != "" {
			return "", illegal("server_name: two host names")
		}
		if len(name) == 0 {
			return "", decodeError("server_name: empty host name")
		}
		// ASCII without a NUL or anything else that could end or fake a name in a log, a table or a C string.
		for _, b := range name {
			if b <= ' ' || b >= 0x7f {
				return "", illegal("server_name: byte %#02x in the host name", b)
			}
		}
		host = string(name)
	}
	return host, nil
}

// parseALPN: RFC 7301 section 3.1, ProtocolName<1..2^8-1> in a list<2..2^16-1>.
func parseALPN(data []byte) ([]string, *Error) {
	c := cursor{data}
	list, ok := c.vector(2)
	if !ok || len(c.b) > 0 || len(list) == 0 {
		return nil, decodeError("alpn: length of the list does not fit")
	}
	var names []string
	for c = (cursor{list}); len(c.b) > 0; {
		name, ok := c.vector(1)
		if !ok || len(name) == 0 {
			return nil, decodeError("alpn: name is empty or cut off")
		}
		names = append(names, string(name))
	}
	return names, nil
}

// parseVersions: RFC 9846 section 4.3.1, versions<2..254>.
func parseVersions(data []byte) ([]uint16, *Error) {
	c := cursor{data}
	list, ok := c.vector(1)
	if !ok || len(c.b) > 0 || len(list) == 0 || len(list)%2 != 0 {
		return nil, decodeError("supported_versions: length of the list does not fit")
	}
	versions := make([]uint16, 0, len(list)/2)
	for c = (cursor{list}); len(c.b) > 0; {
		v, _ := c.uint(2)
		versions = append(versions, uint16(v))
	}
	return versions, nil
}

// cursor eats a byte slice from the front. Its methods return false, and then nothing useful, when there is too little.
type cursor struct{ b []byte }

func (c *cursor) skip(n int) bool {
	if len(c.b) < n {
		return false
	}
	c.b = c.b[n:]
	return true
}

func (c *cursor) uint(size int) (v uint64, ok bool) {
	if len(c.b) < size {
		return 0, false
	}
	for _, b := range c.b[:size] {
		v = v<<8 | uint64(b)
	}
	c.b = c.b[size:]
	return v, true
}

// vector eats a length of size bytes and that many bytes.
func (c *cursor) vector(size int) ([]byte, bool) {
	n, ok := c.uint(size)
	if !ok || uint64(len(c.b)) < n {
		return nil, false
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v, true
}
