package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// ProxyV1 is a header of version 1 of the PROXY protocol (doc/proxy-protocol.txt, section 2.1).
func ProxyV1(source, dest netip.AddrPort) []byte {
	family := "TCP4"
	if source.Addr().Is6() {
		family = "TCP6"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, source.Addr(), dest.Addr(), source.Port(), dest.Port())
}

// The first bytes and the commands of version 2 (section 2.2).
const (
	ProxyV2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	ProxyLocal       = 0x20
	ProxyProxy       = 0x21
)

// The families of version 2, over a stream.
const (
	ProxyUnspec = 0x00
	ProxyTCP4   = 0x11
	ProxyTCP6   = 0x21
	ProxyUnix   = 0x31
)

// ProxyV2 is a header of version 2 with this command and family, the addresses as they are on the wire, and TLVs behind them.
func ProxyV2(command, family byte, addresses []byte, tlvs ...ProxyTLV) []byte {
	block := append([]byte(nil), addresses...)
	for _, t := range tlvs {
		block = append(block, t.Type)
		block = binary.BigEndian.AppendUint16(block, uint16(len(t.Value)))
		block = append(block, t.Value...)
	}
	head := append([]byte(ProxyV2Signature), command, family)
	head = binary.BigEndian.AppendUint16(head, uint16(len(block)))
	return append(head, block...)
}

// ProxyTLV is one of the values behind the addresses.
type ProxyTLV struct {
	Type  byte
	Value []byte
}

// ProxyAddresses are a source and a destination as version 2 has them.
func ProxyAddresses(source, dest netip.AddrPort) []byte {
	var b []byte
	b = append(b, source.Addr().AsSlice()...)
	b = append(b, dest.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, dest.Port())
}

// WithFirst puts bytes before the first that are written to c, in the same write.
func WithFirst(c net.Conn, first []byte) net.Conn { return &firstConn{c, first} }

type firstConn struct {
	net.Conn
	first []byte
}

func (c *firstConn) Write(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(append(c.first, p...))
	n = max(0, n-len(c.first))
	c.first = nil
	return n, err
}
