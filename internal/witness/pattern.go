package witness

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// Pattern returns the endless byte stream that belongs to a nonce: block after block of SHA-256 over the nonce and the
// block's number as eight big-endian bytes. It is the same on both ends, in any language and however it is read, and no
// two places in it look alike, so that lost, doubled or swapped bytes cannot go unseen. Read never fails; io.LimitReader
// cuts it to length.
func Pattern(nonce string) io.Reader {
	return &pattern{seed: append([]byte(nonce), make([]byte, 8)...)}
}

type pattern struct {
	seed  []byte // the nonce and room for the block number
	block [sha256.Size]byte
	rest  []byte // what is left of block
	next  uint64
}

func (p *pattern) Read(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if len(p.rest) == 0 {
			binary.BigEndian.PutUint64(p.seed[len(p.seed)-8:], p.next)
			p.next++
			p.block = sha256.Sum256(p.seed)
			p.rest = p.block[:]
		}
		c := copy(b, p.rest)
		b, p.rest = b[c:], p.rest[c:]
	}
	return n, nil
}
