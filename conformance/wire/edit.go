package wire

import "encoding/binary"

// Edit returns a ClientHello handshake message with other extensions: change gets them in their order. All else, the random too,
// stays as it is.
func Edit(message []byte, change func([]Extension) []Extension) ([]byte, error) {
	r := reader{b: message}
	r.take(4 + 2 + 32)
	r.vector(1)
	r.vector(2)
	r.vector(1)
	if r.bad {
		return nil, &MalformedError{"cut short before the extensions"}
	}
	before := message[4 : len(message)-len(r.b)]
	block := reader{b: r.vector(2)}
	var list []Extension
	for len(block.b) > 0 && !block.bad {
		list = append(list, Extension{block.word(), block.vector(2)})
	}
	if r.bad || block.bad {
		return nil, &MalformedError{"extensions cut short"}
	}
	return Handshake(message[0], append(append([]byte(nil), before...), Vec(2, encode(change(list)))...)), nil
}

// Set is list with an extension replaced, or added in front. A nil Body leaves it out.
func Set(list []Extension, e Extension) []Extension {
	for _, have := range list {
		if have.Type == e.Type {
			return replace(append([]Extension(nil), list...), e)
		}
	}
	if e.Body == nil {
		return list
	}
	return append([]Extension{e}, list...)
}

// OldHello is a ClientHello as made before TLS 1.3: its version stands in legacy_version and nowhere else. The suites are those
// that such clients offer, so that a server has no reason but the version to refuse it.
func OldHello(version uint16, sni string, alpn ...string) []byte {
	msg := NewHello(HelloOptions{
		SNI: sni, ALPN: alpn, Suites: []uint16{0xc009, 0xc013, 0xc00a, 0xc014, 0x002f, 0x0035},
		Override: []Extension{{ExtSupportedVersions, nil}, {ExtKeyShare, nil}},
	})
	binary.BigEndian.PutUint16(msg[4:], version)
	return msg
}
