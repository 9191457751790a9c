package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestResponseKeepsWhatIsBehindIt(t *testing.T) {
	for name, tc := range map[string]struct {
		raw, rest string
		status    int
		fails     bool
	}{
		"upgraded":      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: alpn\r\n\r\nfirst bytes", "first bytes", 101, false},
		"interim":       {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 X\r\n\r\n", "HTTP/1.1 101 X\r\n\r\n", 100, false},
		"no reason":     {"HTTP/1.1 404\r\n\r\n", "", 404, false},
		"not HTTP":      {"SSH-2.0-x\r\n\r\n", "", 0, true},
		"no colon":      {"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "", 0, true},
		"ends too soon": {"HTTP/1.1 200 OK\r\n", "", 0, true},
	} {
		client, wait := pair(t, func(c net.Conn) error { _, err := io.WriteString(c, tc.raw); return err })
		resp, rest, err := ReadResponse(client)
		if serr := wait(); serr != nil {
			t.Fatal(serr)
		}
		if tc.fails {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		behind, err := io.ReadAll(rest)
		if err != nil || resp.Status != tc.status || string(behind) != tc.rest {
			t.Errorf("%s: status %d, behind it %q, %v", name, resp.Status, behind, err)
		}
	}
}

func TestResponseBody(t *testing.T) {
	for name, raw := range map[string]string{
		"length": "HTTP/1.1 404 X\r\nContent-Length: 4\r\n\r\nbodyMORE", "to the end": "HTTP/1.1 404 X\r\n\r\nbody",
	} {
		client, wait := pair(t, func(c net.Conn) error { _, err := io.WriteString(c, raw); return err })
		resp, rest, err := ReadResponse(client)
		if err = errors.Join(err, wait()); err != nil {
			t.Fatal(err)
		}
		if body, err := resp.Body(rest, 1<<10); string(body) != "body" || err != nil {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
}

// upgradeServer answers one upgrade; what it sends is in one write with the 101, so that leftovers are put to the test.
func upgradeServer(c net.Conn, typ string, head, behind []byte, then func(*bufio.Reader) error) error {
	br := bufio.NewReader(c)
	req, err := http.ReadRequest(br)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	out.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + typ + "\r\n")
	if key := req.Header.Get("Sec-Websocket-Key"); key != "" {
		out.WriteString("Sec-WebSocket-Accept: " + AcceptFor(key) + "\r\n")
	}
	out.WriteString("\r\n")
	out.Write(head)
	out.Write(behind)
	if _, err := c.Write(out.Bytes()); err != nil {
		return err
	}
	return then(br)
}

func TestTunnelsKeepBytesInBothDirections(t *testing.T) {
	wsServer := func(frames ...ws.Frame) []byte {
		var out bytes.Buffer
		for _, f := range frames {
			ws.MustWriteFrame(&out, f)
		}
		return out.Bytes()
	}
	for typ, tc := range map[string]struct {
		behind []byte
		read   func(*bufio.Reader) ([]byte, error)
		pings  int64
	}{
		ALPN: {[]byte("hello"), func(br *bufio.Reader) ([]byte, error) {
			b := make([]byte, 9)
			_, err := io.ReadFull(br, b)
			return b, err
		}, 0},
		ALPNPing: {append(append([]byte{0, 0, 0, 0}, Vec(4, []byte("hel"))...), Vec(4, []byte("lo"))...), func(br *bufio.Reader) ([]byte, error) {
			var out []byte
			for len(out) < 9 {
				head := make([]byte, 4)
				if _, err := io.ReadFull(br, head); err != nil {
					return out, err
				}
				b := make([]byte, head[3])
				if _, err := io.ReadFull(br, b); err != nil {
					return out, err
				}
				out = append(out, b...)
			}
			return out, nil
		}, 1},
		WebSocket: {wsServer(ws.NewFrame(ws.OpBinary, false, []byte("he")), ws.NewPingFrame([]byte("p")), ws.NewFrame(ws.OpContinuation, true, []byte("llo"))), func(br *bufio.Reader) ([]byte, error) {
			var out []byte
			for len(out) < 9 {
				f, err := readFrame(br)
				if err != nil {
					return out, err
				}
				if !f.Header.Masked {
					return out, errors.New("frame is not masked")
				}
				if f = ws.UnmaskFrame(f); f.Header.OpCode == ws.OpBinary {
					out = append(out, f.Payload...)
				}
			}
			return out, nil
		}, 1},
	} {
		t.Run(typ, func(t *testing.T) {
			var got []byte
			client, wait := pair(t, func(c net.Conn) error {
				return upgradeServer(c, typ, nil, tc.behind, func(br *bufio.Reader) (err error) { got, err = tc.read(br); return err })
			})
			tunnel, resp, err := Upgrade{Type: typ, Host: "h", Path: "/up", Behind: []byte("glued")}.Do(client)
			if err != nil || resp.Status != 101 {
				t.Fatalf("%v %+v", err, resp)
			}
			if err := tunnel.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			read := make([]byte, 5)
			if _, err := tunnel.Read(read[:0]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			if err := tunnel.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(tunnel, read); err != nil || string(read) != "hello" {
				t.Fatalf("behind the 101: %q, %v", read, err)
			}
			if _, err := tunnel.Write([]byte("more")); err != nil {
				t.Fatal(err)
			}
			if err := wait(); err != nil || string(got) != "gluedmore" {
				t.Errorf("the server got %q, %v", got, err)
			}
			if p, ok := tunnel.(Pinged); ok != (tc.pings > 0) || ok && p.Pings() != tc.pings {
				t.Errorf("pings counted: %v", ok)
			}
		})
	}
}

// readFrame reads a frame of at most 1 KiB.
func readFrame(r io.Reader) (ws.Frame, error) {
	head, err := ws.ReadHeader(r)
	if err != nil || head.Length > 1<<10 {
		return ws.Frame{}, errors.Join(err, fmt.Errorf("a frame of %d bytes", head.Length))
	}
	payload := make([]byte, head.Length)
	_, err = io.ReadFull(r, payload)
	return ws.Frame{Header: head, Payload: payload}, err
}

func TestWebSocketCloseIsAnEndOrAnError(t *testing.T) {
	for code, want := range map[ws.StatusCode]error{ws.StatusNormalClosure: io.EOF, 1011: &CloseError{1011}} {
		client, wait := pair(t, func(c net.Conn) error {
			if err := ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))); err != nil {
				return err
			}
			f, err := readFrame(c)
			if err == nil && f.Header.OpCode != ws.OpClose {
				err = errors.New("the close frame was not answered")
			}
			return err
		})
		tunnel, err := NewTunnel(WebSocket, client)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tunnel.Read(make([]byte, 1))
		var closed *CloseError
		if errors.As(want, &closed) != errors.As(err, &closed) || !errors.As(err, &closed) && !errors.Is(err, want) {
			t.Errorf("close %d: %v", code, err)
		}
		if err := wait(); err != nil {
			t.Errorf("close %d: %v", code, err)
		}
	}
}

func TestRefusedUpgradeIsAStatusError(t *testing.T) {
	client, wait := pair(t, func(c net.Conn) error {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return err
		}
		_, err := io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
		return err
	})
	_, _, err := Upgrade{Type: ALPN, Host: "h", Path: "/"}.Do(client)
	var status *StatusError
	if !errors.As(err, &status) || status.Response.Status != 404 || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}
