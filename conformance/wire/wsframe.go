package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// The opcodes of RFC 6455 section 5.2.
const (
	OpContinuation = byte(ws.OpContinuation)
	OpText         = byte(ws.OpText)
	OpBinary       = byte(ws.OpBinary)
	OpClose        = byte(ws.OpClose)
	OpPing         = byte(ws.OpPing)
	OpPong         = byte(ws.OpPong)
)

// maxRead bounds the payload of a frame that ReadFrame takes in, in bytes.
const maxRead = 4 << 20

// Frame is one WebSocket frame as it goes over the wire, good or bad. The zero value of every field but Op and Payload makes a
// good one as a client sends it: final, masked, its length in the shortest form.
type Frame struct {
	Op      byte
	Payload []byte
	// More clears FIN; RSV are the three reserved bits, 1 to 7; Unmasked leaves the mask out.
	More     bool
	RSV      byte
	Unmasked bool
	// Form is how many bits the length is written in, 7, 16 or 64; the shortest that fits when zero.
	Form int
	// Announce is a length to write in place of that of the payload, nil for none.
	Announce *uint64
}

// Bytes is the frame as it goes over the wire. The mask is random.
func (f Frame) Bytes() []byte {
	first, mask := f.Op|f.RSV<<4, byte(0x80)
	if !f.More {
		first |= 0x80
	}
	if f.Unmasked {
		mask = 0
	}
	length := uint64(len(f.Payload))
	if f.Announce != nil {
		length = *f.Announce
	}
	out := append([]byte{first}, lengthIn(f.form(length), length, mask)...)
	if f.Unmasked {
		return append(out, f.Payload...)
	}
	key := [4]byte(random(4))
	out = append(out, key[:]...)
	body := len(out)
	out = append(out, f.Payload...)
	ws.Cipher(out[body:], key, 0)
	return out
}

func (f Frame) form(length uint64) int {
	switch {
	case f.Form != 0:
		return f.Form
	case length < 126:
		return 7
	case length <= 0xffff:
		return 16
	}
	return 64
}

func lengthIn(form int, length uint64, mask byte) []byte {
	switch form {
	case 16:
		return binary.BigEndian.AppendUint16([]byte{mask | 126}, uint16(length))
	case 64:
		return binary.BigEndian.AppendUint64([]byte{mask | 127}, length)
	}
	return []byte{mask | byte(length)}
}

// CloseBody is the payload of a close frame.
func CloseBody(code uint16, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, code), reason...)
}

// ReadFrame reads one frame, unmasked if it came masked, at most 4 MiB of it. An end before its first byte is io.EOF.
func ReadFrame(r io.Reader) (Frame, error) {
	one := make([]byte, 1)
	if _, err := io.ReadFull(r, one); err != nil {
		return Frame{}, err
	}
	head, err := ws.ReadHeader(io.MultiReader(bytes.NewReader(one), r))
	if err != nil {
		return Frame{}, fmt.Errorf("websocket: reading a frame header: %w", unexpected(err))
	}
	if head.Length > maxRead {
		return Frame{}, fmt.Errorf("websocket: frame of %d bytes, over %d", head.Length, maxRead)
	}
	f := Frame{Op: byte(head.OpCode), More: !head.Fin, RSV: head.Rsv, Unmasked: !head.Masked, Payload: make([]byte, head.Length)}
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return f, fmt.Errorf("websocket: reading a frame: %w", unexpected(err))
	}
	if head.Masked {
		ws.Cipher(f.Payload, head.Mask, 0)
	}
	return f, nil
}

// unexpected is an end inside a frame: io.EOF must not be taken for a regular one.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // as io.ReadFull does
		return io.ErrUnexpectedEOF
	}
	return err
}
