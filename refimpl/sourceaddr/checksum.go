package sourceaddr

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// addressBytes is how long the addresses of a v2 header are, by the family in the high half of its 14th byte (section 2.2).
var addressBytes = map[byte]int{0: 0, 1: 12, 2: 36, 3: 216}

// checksum verifies the CRC32c of a whole v2 header that carries one (PP2_TYPE_CRC32C, section 2.2.3): it is that of the header with
// zeros in its place. The block of LOCAL is discarded, and nothing in it is looked at.
func checksum(header []byte) error {
	const crc, crcLen, local = 0x03, 4, 0x20
	if !strings.HasPrefix(string(header), v2Signature) || header[12] == local {
		return nil
	}
	at, known := addressBytes[header[13]>>4]
	if !known {
		return nil
	}
	for at += v2Fixed; at+3 <= len(header); {
		kind, length := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		value := at + 3
		if value+length > len(header) {
			return nil // malformed: the library says so
		}
		if kind == crc {
			if length != crcLen {
				return fmt.Errorf("%w: a CRC32c of %d bytes", ErrMalformed, length)
			}
			want := binary.BigEndian.Uint32(header[value:])
			zeroed := slices.Clone(header)
			clear(zeroed[value : value+crcLen])
			if got := crc32.Checksum(zeroed, castagnoli); got != want {
				return fmt.Errorf("%w: its CRC32c is %08x, and the header says %08x", ErrMalformed, got, want)
			}
		}
		at = value + length
	}
	return nil
}
