package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// UnsoundError says what is wrong with a packet file that was written as evidence.
type UnsoundError struct{ Reason string }

func (e *UnsoundError) Error() string { return e.Reason }

func unsound(format string, args ...any) error { return &UnsoundError{fmt.Sprintf(format, args...)} }

// Verify reads a file of WritePcapng back, without the library that wrote it, and says whether it holds what it was made of: every
// connection of the segments with as many bytes each way, and secrets of as many TLS sessions as there were. An error is an
// *[UnsoundError].
func Verify(file []byte, segments []Segment, sessions int) error {
	got, secrets, err := readBack(file)
	if err != nil {
		return err
	}
	want, names := expected(segments)
	if len(want) > 0 && len(got) == 0 {
		return unsound("the capture is empty, and there were %d connections", len(want))
	}
	for i, w := range want {
		switch g, ok := got[firstPort+i]; {
		case !ok:
			return unsound("the capture lacks connection %s", names[i])
		case g != w:
			return unsound("the capture has %d and %d bytes of connection %s, which carried %d and %d", g[0], g[1], names[i], w[0], w[1])
		}
	}
	if n := len(randomsIn(secrets)); n < sessions {
		return unsound("the key log has secrets of %d TLS sessions, and there were %d", n, sessions)
	}
	return nil
}

// expected is how many bytes each connection carried, from the client and from the server, in the order of their first segments.
// Nothing follows a reset.
func expected(segments []Segment) (bytes [][2]int, names []string) {
	over := map[string]bool{}
	for _, s := range segments {
		i := slices.Index(names, s.Conn)
		if i < 0 {
			i, names, bytes = len(names), append(names, s.Conn), append(bytes, [2]int{})
		}
		if s.Kind == Data && !over[s.Conn] {
			side := 0
			if s.FromServer {
				side = 1
			}
			bytes[i][side] += len(s.Data) + s.Missing
		}
		over[s.Conn] = over[s.Conn] || s.Kind == Reset
	}
	return bytes, names
}

// Types of the blocks of a pcapng file (draft-ietf-opsawg-pcapng section 4).
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockPacket    = 6
	blockSecrets   = 0xA
)

// readBack counts the payload of each connection by the client's port, and collects the secrets.
func readBack(file []byte) (bytes map[int][2]int, secrets string, err error) {
	bytes = map[int][2]int{}
	if len(file) < 12 || binary.LittleEndian.Uint32(file) != blockSection {
		return nil, "", unsound("the capture cannot be read: it does not begin as a pcapng file")
	}
	for off := 0; off < len(file); {
		rest := file[off:]
		if len(rest) < 12 {
			return nil, "", unsound("the capture cannot be read: %d bytes are left over at its end", len(rest))
		}
		size := int(binary.LittleEndian.Uint32(rest[4:]))
		if size < 12 || size%4 != 0 || size > len(rest) || int(binary.LittleEndian.Uint32(rest[size-4:])) != size {
			return nil, "", unsound("the capture cannot be read: the block at byte %d is broken", off)
		}
		body := rest[8 : size-4]
		switch binary.LittleEndian.Uint32(rest) {
		case blockPacket:
			port, side, n, err := payload(body)
			if err != nil {
				return nil, "", unsound("the capture cannot be read: the packet at byte %d: %v", off, err)
			}
			b := bytes[port]
			b[side] += n
			bytes[port] = b
		case blockSecrets:
			if len(body) < 8 || int(binary.LittleEndian.Uint32(body[4:])) > len(body)-8 {
				return nil, "", unsound("the capture cannot be read: the secrets at byte %d are cut short", off)
			}
			secrets += string(body[8 : 8+binary.LittleEndian.Uint32(body[4:])])
		case blockSection, blockInterface:
		default:
			return nil, "", unsound("the capture cannot be read: a block of type %#x at byte %d", binary.LittleEndian.Uint32(rest), off)
		}
		off += size
	}
	return bytes, secrets, nil
}

var errShort = errors.New("it is cut short")

// payload is the client's port, the side that sent (0 the client), and how many bytes of payload a packet had on the wire.
func payload(body []byte) (port, side, n int, err error) {
	const head = 20 // of an enhanced packet block, of IPv4 and of TCP, each without options
	if len(body) < 3*head {
		return 0, 0, 0, errShort
	}
	original := int(binary.LittleEndian.Uint32(body[16:]))
	ip := body[head:]
	if ip[0] != 0x45 || ip[9] != 6 || ip[head+12]>>4 != 5 || original < 2*head {
		return 0, 0, 0, errors.New("it is not TCP over IPv4")
	}
	src, dst := int(binary.BigEndian.Uint16(ip[head:])), int(binary.BigEndian.Uint16(ip[head+2:]))
	if src == serverPort {
		return dst, 1, original - 2*head, nil
	}
	return src, 0, original - 2*head, nil
}
