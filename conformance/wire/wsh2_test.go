package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Peer is the server's side of a CONNECT, answered with a status.
func h2Peer(t *testing.T, c net.Conn, status string, settings ...http2.Setting) *http2.Framer {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		t.Error(err)
	}
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(settings...); err != nil {
		t.Error(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return framer // the client did not like the settings
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			if head.PseudoValue("method") != "CONNECT" || head.PseudoValue("protocol") != WebSocket || head.PseudoValue("path") != "/p" {
				t.Errorf("asked with %v", head.Fields)
			}
			var block bytes.Buffer
			_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
			if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: head.StreamID, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
				t.Error(err)
			}
			return framer
		}
	}
}

func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

var announced = http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}

func TestH2StreamCarriesMoreThanItsWindow(t *testing.T) {
	client, server := tcpPair(t)
	done := make(chan error, 1)
	go func() {
		s := NewH2Stream(server, h2Peer(t, server, "200", announced, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000}), 1, 65535)
		_, err := io.Copy(s, s)
		done <- errors.Join(err, s.CloseWrite())
	}()
	s, err := ConnectH2(client, "h", "/p")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789"), 30_000)
	go func() {
		_, err := s.Write(data)
		done <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(data), err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestH2StreamDoesNotWaitForAWindowForEver(t *testing.T) {
	client, server := tcpPair(t)
	done := make(chan struct{})
	go func() { defer close(done); h2Peer(t, server, "200", announced) }()
	s, err := ConnectH2(client, "h", "/p")
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if err := s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write(make([]byte, 100_000)); n != 65535 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d, %v", n, err)
	}
}

func TestConnectH2TellsWhatIsMissing(t *testing.T) {
	client, server := tcpPair(t)
	done := make(chan struct{})
	go func() { defer close(done); h2Peer(t, server, "200") }()
	if _, err := ConnectH2(client, "h", "/p"); !errors.Is(err, ErrNoExtendedConnect) {
		t.Errorf("nothing announced: %v", err)
	}
	_ = client.Close()
	<-done
	client, server = tcpPair(t)
	go h2Peer(t, server, "405", announced)
	_, err := ConnectH2(client, "h", "/p")
	if status, ok := errors.AsType[*StatusError](err); !ok || status.Response.Status != 405 {
		t.Errorf("refused: %v", err)
	}
}
