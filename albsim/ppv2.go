package albsim

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// proxySignature begins a header of the PROXY protocol, version 2 (section 2.2 of its text).
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	tlvCRC32C = 0x03
	tlvNoop   = 0x04
	tlvAWS    = 0xea // its first byte, 0x01, says that a VPC endpoint's id follows
)

// proxyTLVs is the length of what stands behind the addresses: alb.md section 11 (ELT) has it with an endpoint's id, filled
// up by a NOOP. That it is the same without one is inferred.
const proxyTLVs = 72

// maxEndpointID is what leaves room for the checksum and the head of the NOOP.
const maxEndpointID = proxyTLVs - 7 - 4 - 3

// proxyHeader is what stands in front of a connection's bytes for its target: client and destination are those of the
// connection in front, of one family. endpoint is the id of the VPC endpoint that it came by, or empty.
func proxyHeader(client, destination netip.AddrPort, endpoint string) []byte {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	destination = netip.AddrPortFrom(destination.Addr().Unmap(), destination.Port())
	family := byte(0x11) // TCP over IPv4
	if !client.Addr().Is4() {
		family = 0x21
	}
	b := append([]byte(proxySignature), 0x21, family) // version 2, PROXY
	length := len(client.Addr().AsSlice())*2 + 4 + proxyTLVs
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	end := len(b) + length
	b = append(b, client.Addr().AsSlice()...)
	b = append(b, destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, client.Port())
	b = binary.BigEndian.AppendUint16(b, destination.Port())

	b = append(b, tlvCRC32C, 0, 4)
	sum := len(b)
	b = append(b, 0, 0, 0, 0)
	if endpoint != "" {
		b = append(b, tlvAWS, 0, byte(1+len(endpoint)), 1)
		b = append(b, endpoint...)
	}
	fill := end - len(b) - 3
	b = append(b, tlvNoop, 0, byte(fill))
	b = append(b, make([]byte, fill)...)
	// The sum is over the whole header with its own place zero.
	binary.BigEndian.PutUint32(b[sum:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// localProxyHeader says that the balancer speaks for itself, as health checks do; that it is LOCAL is inferred.
func localProxyHeader() []byte { return append([]byte(proxySignature), 0x20, 0, 0, 0) }
