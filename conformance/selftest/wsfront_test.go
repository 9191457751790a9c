package selftest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// wsBugs are the switches of the WebSocket front. All off, it conforms.
type wsBugs struct {
	takesUnmasked, takesRSV, takesOpcodes, takesText bool
	longControl, fragmentedControl                   bool
	longForms, signedLength                          bool
	noLimit, wholeMessages                           bool // of a frame; messages are held until they are whole
	leavesOpen                                       bool // behind its close frame

	noPong, emptyPong, pongAtEnd bool // pings are answered not at all, without their data, outside messages only
	readFirst                    bool // a frame is taken to come in one piece
	headerInOne                  bool // its header is
	dropsContinuations           bool
	resetsAtPing                 bool // a ping ends the message that it stands in
	silentClose, echoesAny       bool
	refusesNew                   bool // codes that are newer than RFC 6455
	staysAfterClose              bool
	deflates                     bool
	protocol                     string // confirmed whatever was offered
}

// wsLimit bounds a frame.
const wsLimit = 1 << 20

// wsFront ends a WebSocket before the reference router, and is the client of another one behind.
type wsFront struct {
	wsBugs
	c, b    net.Conn
	mu      sync.Mutex // guards writing to c
	message bool       // one in fragments is open
	held    []byte     // of it
}

// wsFronted is the reference router's plaintext endpoint behind the front.
func wsFronted(bugs wsBugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := plainUpgrade(newLab(t).start(t, nil))
		target.Paths[0].Upgrade.Types = []string{wire.WebSocket}
		target.Paths[0].Address = serve(t, target.Paths[0].Address, func(c net.Conn, dial func() net.Conn) { fronted(bugs, c, dial()) })
		return target
	}
}

func fronted(bugs wsBugs, c, b net.Conn) {
	if b == nil {
		return
	}
	defer b.Close()
	head, behind, ok := header(c)
	if !ok {
		return
	}
	if _, err := io.WriteString(b, head); err != nil {
		return
	}
	answer, rest, ok := header(b)
	if !ok {
		return
	}
	if bugs.deflates {
		answer = with(answer, "Sec-WebSocket-Extensions: permessage-deflate")
	}
	if bugs.protocol != "" {
		answer = with(without(answer, "Sec-WebSocket-Protocol"), "Sec-WebSocket-Protocol: "+bugs.protocol)
	}
	if _, err := io.WriteString(c, answer); err != nil || !strings.Contains(answer, " 101 ") {
		both(c, wire.WithPrefix(b, rest))
		return
	}
	f := &wsFront{wsBugs: bugs, c: wire.WithPrefix(c, behind), b: wire.WithPrefix(b, rest)}
	done := make(chan struct{})
	go func() { defer close(done); f.down() }()
	f.up()
	_ = f.b.Close()
	<-done
}

// down passes on what the router sends. Its end is the end of the connection.
func (f *wsFront) down() {
	for {
		frame, err := wire.ReadFrame(f.b)
		if err != nil {
			break
		}
		frame.Unmasked = true
		if f.answer(frame) != nil {
			break
		}
	}
	if !f.leavesOpen && !f.staysAfterClose {
		_ = netx.CloseWrite(f.c)
	}
}

func (f *wsFront) answer(frame wire.Frame) error {
	frame.Unmasked = true
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.c.Write(frame.Bytes())
	return err
}

func (f *wsFront) toRouter(op byte, payload []byte) error {
	_, err := f.b.Write(wire.Frame{Op: op, Payload: payload}.Bytes())
	return err
}

// up takes the client's frames until one of them, or the stream, ends the connection.
func (f *wsFront) up() {
	for {
		code, ok := f.frame()
		if ok {
			continue
		}
		if code != 0 {
			_ = f.answer(wire.Frame{Op: wire.OpClose, Payload: wire.CloseBody(uint16(code), "")})
		}
		if f.leavesOpen {
			_, _ = io.Copy(io.Discard, f.c)
		}
		_ = f.b.Close()
		_ = netx.CloseWrite(f.c)
		return
	}
}

// header reads the header of a frame in the way that the bugs have it.
func (f *wsFront) head() (b [2]byte, length uint64, key [4]byte, ok bool) {
	if _, err := io.ReadFull(f.c, b[:]); err != nil {
		return b, 0, key, false
	}
	size := map[byte]int{126: 2, 127: 8}[b[1]&0x7f]
	masked := b[1]&0x80 != 0
	if masked {
		size += 4
	}
	rest := make([]byte, size)
	if f.headerInOne && size > 0 {
		if n, err := f.c.Read(rest); err != nil || n < size {
			return b, 0, key, false
		}
	} else if _, err := io.ReadFull(f.c, rest); err != nil {
		return b, 0, key, false
	}
	switch b[1] & 0x7f {
	case 126:
		length, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		length, rest = binary.BigEndian.Uint64(rest), rest[8:]
	default:
		length = uint64(b[1] & 0x7f)
	}
	copy(key[:], rest)
	return b, length, key, true
}

// frame takes one frame; code is what to close with when it is not to be obeyed.
func (f *wsFront) frame() (code int, ok bool) {
	b, length, key, ok := f.head()
	if !ok {
		return 0, false
	}
	op, final, control := b[0]&0xf, b[0]&0x80 != 0, b[0]&8 != 0
	masked, form := b[1]&0x80 != 0, b[1]&0x7f
	known := slices.Contains([]byte{wire.OpContinuation, wire.OpText, wire.OpBinary, wire.OpClose, wire.OpPing, wire.OpPong}, op)
	short := form == 126 && length < 126 || form == 127 && length <= 0xffff
	if f.signedLength {
		length &^= 1 << 63
	}
	switch {
	case !masked && !f.takesUnmasked, b[0]&0x70 != 0 && !f.takesRSV, !known && !f.takesOpcodes,
		control && !final && !f.fragmentedControl, control && form > 125 && !f.longControl, short && !f.longForms && (!control || !f.longControl), length>>63 != 0:
		return 1002, false
	case op == wire.OpContinuation && !f.message && !f.fragmentedControl, op == wire.OpBinary && f.message:
		return 1002, false
	case op == wire.OpText && !f.takesText:
		return 1003, false
	case length > wsLimit && !f.noLimit:
		return 1009, false
	}
	if !known {
		op = wire.OpBinary
	}
	if length > wsLimit { // noLimit: passed on as it comes
		return 0, f.stream(key, length)
	}
	payload := make([]byte, length)
	if f.readFirst {
		if n, err := f.c.Read(payload); err != nil || n < len(payload) {
			return 0, false
		}
	} else if _, err := io.ReadFull(f.c, payload); err != nil {
		return 0, false
	}
	if masked {
		unmask(payload, key)
	}
	switch op {
	case wire.OpPing:
		return 0, f.ping(payload)
	case wire.OpPong:
		return 0, f.toRouter(wire.OpPong, payload[:min(len(payload), 125)]) == nil
	case wire.OpClose:
		return f.closed(payload), f.staysAfterClose
	}
	return 0, f.data(op, payload, final)
}

func unmask(p []byte, key [4]byte) {
	for i := range p {
		p[i] ^= key[i%4]
	}
}

func (f *wsFront) stream(key [4]byte, length uint64) bool {
	buf := make([]byte, 4096)
	for length > 0 {
		n, err := f.c.Read(buf[:min(uint64(len(buf)), length)])
		unmask(buf[:n], key)
		if err != nil || f.toRouter(wire.OpBinary, buf[:n]) != nil {
			return false
		}
		length -= uint64(n)
	}
	return true
}

func (f *wsFront) ping(payload []byte) bool {
	if f.resetsAtPing {
		f.message = false
	}
	switch {
	case f.noPong:
		return true
	case f.emptyPong:
		payload = nil
	case f.pongAtEnd && f.message:
		return true
	}
	return f.answer(wire.Frame{Op: wire.OpPong, Payload: payload}) == nil
}

func (f *wsFront) data(op byte, payload []byte, final bool) bool {
	if op == wire.OpContinuation && f.dropsContinuations {
		payload = nil
	}
	f.message = !final
	if f.wholeMessages {
		if f.held = append(f.held, payload...); !final {
			return true
		}
		payload, f.held = bytes.Clone(f.held), nil
	}
	return f.toRouter(wire.OpBinary, payload) == nil
}

// closed answers a close frame and tells what to close with when it is a bad one.
func (f *wsFront) closed(payload []byte) int {
	code := 1000
	if len(payload) > 1 {
		code = int(binary.BigEndian.Uint16(payload))
	}
	switch {
	case f.silentClose:
		return 0
	case f.echoesAny:
	case len(payload) == 1, code < 1000, code > 4999, code > 1014 && code < 3000, slices.Contains([]int{1004, 1005, 1006}, code), f.refusesNew && code > 1011 && code < 3000:
		return 1002
	case len(payload) > 2 && !utf8.Valid(payload[2:]):
		return 1007
	}
	_ = f.answer(wire.Frame{Op: wire.OpClose, Payload: payload[:min(2, len(payload))]})
	return 0
}
