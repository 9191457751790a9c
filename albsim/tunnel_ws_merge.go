package albsim

import (
	"bufio"
	"encoding/binary"
	"io"
)

// maxMerged is the payload of a frame that merge makes where the profile does not say.
const maxMerged = 64 << 10

// merger reads the WebSocket frames of one direction and gives the fragments of a message in one frame, as RFC 6455 section 5.4
// lets an intermediary. A message longer than most comes in several. What is held goes out, as the fragment that it is, in
// front of a control frame and at the end of the stream.
type merger struct {
	br   *bufio.Reader
	most int

	frame wsHead // that came, and what is left of its payload
	at    int    // place in its key
	whole bool   // it goes through as it came: a control frame

	first byte   // of the frame that is held: RSV and opcode
	key   []byte // it goes out with, nil for none
	held  []byte // its payload
	begun bool   // there is a message
	out   []byte // to be read next
	err   error  // behind that
}

func (m *merger) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		if m.whole && m.frame.size > 0 {
			n, err := m.br.Read(p[:min(int64(len(p)), m.frame.size)])
			if m.frame.size -= int64(n); m.frame.size > 0 {
				err = unexpected(err)
			}
			return n, err
		}
		m.step()
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

// step takes a frame's head, or some of its payload.
func (m *merger) step() {
	if m.whole || m.frame.size == 0 {
		m.next()
		return
	}
	n := int(min(int64(m.most-len(m.held)), m.frame.size))
	at := len(m.held)
	m.held = append(m.held, make([]byte, n)...)
	got, err := io.ReadFull(m.br, m.held[at:])
	m.held = m.held[:at+got]
	m.mask(m.held[at:], m.frame.key, m.at)
	m.at += got
	if m.frame.size -= int64(got); err != nil {
		m.flush(false)
		m.err = unexpected(err)
		return
	}
	m.settle()
}

// next reads a frame's head.
func (m *merger) next() {
	head, err := readWSHead(m.br)
	if err != nil {
		if m.begun && len(m.held) > 0 {
			m.flush(false)
		}
		m.err = err
		return
	}
	m.frame, m.at, m.whole = head, 0, head.first&0x08 != 0
	opens := head.first&0x0f != 0
	if len(m.held) > 0 && (m.whole || opens) { // a message that another one breaks off stays broken off
		m.flush(false)
	}
	switch {
	case m.whole:
		m.out = head.append(m.out)
		return
	case opens || !m.begun:
		m.first, m.key, m.begun = head.first&0x7f, head.key, true
	}
	m.settle()
}

// settle has the held go out if it is a message's end, or as much as may be held with more to come.
func (m *merger) settle() {
	switch {
	case m.frame.size == 0 && m.frame.first&0x80 != 0:
		m.flush(true)
		m.begun = false
	case m.frame.size > 0 && len(m.held) == m.most:
		m.flush(false)
	}
}

// flush makes a frame of what is held; what follows in the message continues it.
func (m *merger) flush(last bool) {
	head := wsHead{first: m.first, size: int64(len(m.held)), key: m.key}
	if last {
		head.first |= 0x80
	}
	m.out = head.append(m.out)
	m.mask(m.held, m.key, 0)
	m.out = append(m.out, m.held...)
	m.held, m.first = m.held[:0], 0 // RSV1 of a compressed message stands in its first frame alone
}

func (*merger) mask(b, key []byte, at int) {
	for i := range b {
		if key != nil {
			b[i] ^= key[(at+i)&3]
		}
	}
}

// wsHead is a frame's head: RFC 6455 section 5.2.
type wsHead struct {
	first byte // FIN, RSV and opcode
	size  int64
	key   []byte // nil for an unmasked frame
}

func readWSHead(br *bufio.Reader) (h wsHead, err error) {
	var b [14]byte
	if _, err := io.ReadFull(br, b[:1]); err != nil {
		return h, err // an end between frames is one
	}
	if _, err := io.ReadFull(br, b[1:2]); err != nil {
		return h, unexpected(err)
	}
	h.first, h.size = b[0], int64(b[1]&0x7f)
	long := map[int64]int{126: 2, 127: 8}[h.size]
	more := b[2 : 2+long]
	if _, err := io.ReadFull(br, more); err != nil {
		return h, unexpected(err)
	}
	switch long {
	case 2:
		h.size = int64(binary.BigEndian.Uint16(more))
	case 8:
		h.size = int64(binary.BigEndian.Uint64(more) &^ (1 << 63))
	}
	if b[1]&0x80 != 0 {
		h.key = make([]byte, 4)
		if _, err := io.ReadFull(br, h.key); err != nil {
			return h, unexpected(err)
		}
	}
	return h, nil
}

// append writes the head.
func (h wsHead) append(b []byte) []byte {
	mask := byte(0)
	if h.key != nil {
		mask = 0x80
	}
	b = append(b, h.first)
	switch {
	case h.size < 126:
		b = append(b, mask|byte(h.size))
	case h.size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(h.size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(h.size))
	}
	return append(b, h.key...)
}
