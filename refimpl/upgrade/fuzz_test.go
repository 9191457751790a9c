package upgrade

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gobwas/ws"
)

const fuzzMax = 100 // bytes in a frame

// How a stream of frames ends.
const (
	atEnd   = "end"     // of the stream, between messages
	cut     = "cut"     // inside a frame or message
	refused = "refused" // by us
	closed  = "closed"  // by a Close frame
)

// frames reads in as gobwas/ws would, whose codec is not ours: the data, the payloads of the pings, and how it ends. On top of RFC
// 6455, which ws.CheckHeader knows, it has our own rules: no text, lengths in their shortest form and up to fuzzMax.
func frames(in []byte, client bool) (data []byte, pings [][]byte, end string) {
	r := bytes.NewReader(in)
	state := ws.StateServerSide
	if client {
		state = ws.StateClientSide
	}
	for {
		at := len(in) - r.Len()
		h, err := ws.ReadHeader(r)
		switch {
		case errors.Is(err, io.EOF) && at == len(in) && !state.Fragmented():
			return data, pings, atEnd
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return data, pings, cut
		case err != nil, ws.CheckHeader(h, state) != nil, h.OpCode == ws.OpText, h.Length > fuzzMax:
			return data, pings, refused
		case in[at+1]&0x7f == 126 && h.Length < 126, in[at+1]&0x7f == 127 && h.Length <= 0xffff:
			return data, pings, refused
		}
		payload := make([]byte, h.Length)
		n, err := io.ReadFull(r, payload)
		if payload = payload[:n]; h.Masked {
			ws.Cipher(payload, h.Mask, 0)
		}
		if !h.OpCode.IsControl() {
			data = append(data, payload...)
			state = state.Clear(ws.StateFragmented)
			if !h.Fin {
				state = state.Set(ws.StateFragmented)
			}
		}
		if err != nil {
			return data, pings, cut
		}
		switch h.OpCode {
		case ws.OpPing:
			pings = append(pings, payload)
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(payload)
			beyond := len(payload) > 1 && code > 4999 // RFC 6455 section 7.4.2 ends there, gobwas/ws does not
			if code >= 1012 && code <= 1014 {         // registered at IANA after RFC 6455: gobwas/ws does not know them
				code = ws.StatusNormalClosure
			}
			if len(payload) > 0 && (len(payload) == 1 || beyond || ws.CheckCloseFrameData(code, reason) != nil) {
				return data, pings, refused
			}
			return data, pings, closed
		default: // data, and pongs, which nobody waits for
		}
	}
}

func FuzzWebSocketFrames(f *testing.F) {
	f.Add(raw(0x82, mask, "hello"), false)
	f.Add(raw(0x88, mask, "\x03\xe8bye"), false)
	f.Add(raw(0x88, mask, "\x03\xf5"), false)
	f.Add(raw(0x88, mask, "\x71\x00"), false)
	f.Add(bytes.Join([][]byte{raw(0x02, nil, "he"), raw(0x89, nil, "?"), raw(0x80, nil, "llo")}, nil), true)
	f.Add([]byte{0x82, 0xfe, 0, 200, 0, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, in []byte, client bool) {
		want, pings, end := frames(in, client)
		conn := newScript(in)
		if len(in)%2 == 1 {
			conn.r = iotest.OneByteReader(conn.r)
		}
		c := newWSConn(conn, nil, fuzzMax, client)
		got, err := io.ReadAll(iotest.OneByteReader(c))
		if _, again := c.Read(make([]byte, 1)); again == nil || err != nil && !errors.Is(again, err) {
			t.Fatalf("ended with %v, then %v", err, again)
		}
		_ = c.Close()

		if !bytes.Equal(got, want) {
			t.Fatalf("read %q, gobwas/ws %q", got, want)
		}
		var protocol *ProtocolError
		var peer *CloseError
		ours := atEnd
		switch {
		case errors.As(err, &protocol):
			ours = refused
		case errors.As(err, &peer):
			ours = closed
		case errors.Is(err, io.ErrUnexpectedEOF):
			ours = cut
		case err != nil:
			t.Fatal(err)
		}
		if ours == refused && end == cut {
			// We refuse a header before the whole of it is there; with the rest of it so must the other.
			_, _, end = frames(slices.Concat(in, make([]byte, ws.MaxHeaderSize)), client)
		}
		if ours != end && (ours != atEnd || end != closed) { // a Close frame with 1000 or without a code is an io.EOF too
			t.Fatalf("%s (%v), gobwas/ws %s", ours, err, end)
		}
		checkControl(t, conn.written(), pings, end, client)
	})
}

// checkControl wants whole frames: pongs, in the order of their pings, of which the oldest may be missing, then one Close.
func checkControl(t *testing.T, written string, pings [][]byte, end string, client bool) {
	r := strings.NewReader(written)
	all := len(pings) < maxQueue
	for {
		frame, err := ws.ReadFrame(r) //nolint:staticcheck // what we wrote ourselves is not too long
		if err != nil {
			t.Fatalf("wrote % x: %v", written, err)
		}
		if frame.Header.Masked != client {
			t.Fatalf("masked: %v", frame.Header.Masked)
		}
		if client {
			frame = ws.UnmaskFrameInPlace(frame)
		}
		switch frame.Header.OpCode {
		case ws.OpPong:
			i := slices.IndexFunc(pings, func(p []byte) bool { return bytes.Equal(p, frame.Payload) })
			if i < 0 || all && i > 0 {
				t.Fatalf("a pong of %q for %q", frame.Payload, pings)
			}
			pings = pings[i+1:]
		case ws.OpClose:
			if code, _ := ws.ParseCloseFrameData(frame.Payload); end == refused && code == ws.StatusNormalClosure {
				t.Fatal("refused with 1000")
			}
			if r.Len() > 0 || all && len(pings) > 0 {
				t.Fatalf("%d bytes behind the Close, %d pings without a pong", r.Len(), len(pings))
			}
			return
		default:
			t.Fatalf("wrote a frame of opcode %d", frame.Header.OpCode)
		}
	}
}

func FuzzPingFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0, 0, 0, 0, 1, '!'})
	f.Add([]byte{0, 0, 0, 101})
	f.Add([]byte{0, 0, 0, 3, 'a'})
	f.Fuzz(func(t *testing.T, in []byte) {
		var want []byte
		wantErr := error(nil)
		for rest := in; len(rest) > 0 && wantErr == nil; {
			if len(rest) < 4 {
				wantErr = io.ErrUnexpectedEOF
				break
			}
			n := int(binary.BigEndian.Uint32(rest))
			rest = rest[4:]
			switch {
			case n > fuzzMax:
				wantErr = &FrameError{Length: uint32(n), Max: fuzzMax}
			case n > len(rest):
				want, wantErr = append(want, rest...), io.ErrUnexpectedEOF
			default:
				want, rest = append(want, rest[:n]...), rest[n:]
			}
		}
		conn := newScript(in)
		if len(in)%2 == 1 {
			conn.r = iotest.OneByteReader(conn.r)
		}
		c := newPingConn(conn, nil, fuzzMax)
		got, err := io.ReadAll(c)
		_ = c.Close()
		if !bytes.Equal(got, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) || conn.written() != "" {
			t.Fatalf("read %q, %v, want %q, %v; wrote %q", got, err, want, wantErr, conn.written())
		}
	})
}

func FuzzAccept(f *testing.F) {
	f.Add([]byte(request("Upgrade: alpn")+"tunnel"), false)
	f.Add([]byte(request(append(webSocket, "Sec-WebSocket-Protocol: chat, alpn")...)+"\x82\x80\x00\x00\x00\x00"), true)
	f.Add([]byte(request("Upgrade: h2c, ALPN-Ping", "Transfer-Encoding: chunked")+"4\r\nbody\r\n0\r\n\r\n\x00\x00\x00\x01x"), false)
	f.Add([]byte(request("X-Teleport-Upgrade: alpn", "Connection: keep-alive,UPGRADE", "Expect: 100-continue")), true)
	f.Fuzz(func(t *testing.T, in []byte, strict bool) {
		conn := newScript(in)
		a := serve(t.Context(), conn, ServerOptions{RequireConnection: strict})
		answer := conn.written()
		var no *RefusedError
		switch {
		case a.err == nil:
			checkSwitched(t, in, answer, a.typ, strict)
			_, _ = io.Copy(io.Discard, a.conn)
			a.conn.Close()
		case errors.As(a.err, &no):
			answer = strings.TrimPrefix(answer, "HTTP/1.1 100 Continue\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
			if err != nil {
				t.Fatalf("answered %q: %v", answer, err)
			}
			resp.Body.Close()
			if resp.StatusCode != no.Status || !resp.Close || no.Status == http.StatusUpgradeRequired && resp.Header.Get("Upgrade") == "" {
				t.Fatalf("refused with %d, but wrote %q", no.Status, answer)
			}
		case strings.Contains(answer, "HTTP/1.1 101 "):
			t.Fatalf("error %v after a 101", a.err)
		}
	})
}

// folded is where a field goes on in the next line. A server refuses that or reads it as a space (RFC 9112 section 5.2); net/http reads it.
var folded = regexp.MustCompile(`\r?\n[ \t]+`)

// checkSwitched wants one 101, and in the request what it needs: tokens as a regular expression sees them.
func checkSwitched(t *testing.T, in []byte, answer, typ string, strict bool) {
	answer = strings.TrimPrefix(answer, "HTTP/1.1 100 Continue\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") || !strings.HasSuffix(answer, "\r\n\r\n") || strings.Count(answer, "\r\n\r\n") > 1 {
		t.Fatalf("switched with %q", answer)
	}
	lines := folded.ReplaceAll(in, []byte(" "))
	has := func(name, token string) bool {
		return regexp.MustCompile(`(?im)^(` + name + `):([^\n]*,)?[ \t]*` + token + `[ \t]*(,|\r?$)`).Match(lines)
	}
	if !has("Upgrade|X-Teleport-Upgrade", typ) {
		t.Errorf("switched to %s, which %q does not offer", typ, in)
	}
	if (strict || typ == "websocket") && !has("Connection", "upgrade") {
		t.Errorf("switched to %s without Connection: upgrade in %q", typ, in)
	}
}
