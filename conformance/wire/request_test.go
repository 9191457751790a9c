package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestReadRequestKeepsWhatFollows(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() {
		_, _ = io.WriteString(a, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive ,\tUpgrade\r\nOdd : line\r\n\r\ntunnel")
		_ = a.Close()
	}()
	must(t, b.SetDeadline(time.Now().Add(time.Second)))
	req, rest, err := ReadRequest(b)
	must(t, err)
	if req.Method != "GET" || req.Target != "/x" || req.Header.Get("Host") != "h" || len(req.Lines) != 3 || req.Header.Get("Odd") != "" {
		t.Errorf("request: %+v", req)
	}
	if !HasToken(req.Header, "Connection", "upgrade") || HasToken(req.Header, "Connection", "keep") {
		t.Errorf("tokens of %q", req.Header.Values("Connection"))
	}
	if got, _ := io.ReadAll(rest); string(got) != "tunnel" {
		t.Errorf("behind the header: %q", got)
	}
}

func TestReadRequestRefusesOtherThings(t *testing.T) {
	for _, raw := range []string{"\x16\x03\x01\x00\x00\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nHost"} {
		a, b := net.Pipe()
		go func() {
			_, _ = io.WriteString(a, raw)
			_ = a.Close()
		}()
		must(t, b.SetDeadline(time.Now().Add(time.Second)))
		if req, _, err := ReadRequest(b); err == nil {
			t.Errorf("%q was read as %+v", raw, req)
		}
		_ = b.Close()
	}
}

func TestWebSocketServerAndClientUnderstandEachOther(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	client, err := NewTunnel(WebSocket, a)
	must(t, err)
	server := NewWSServer(b)
	must(t, a.SetDeadline(time.Now().Add(time.Second)))
	must(t, b.SetDeadline(time.Now().Add(time.Second)))
	go func() {
		_, _ = client.Write([]byte("up"))
		buf := make([]byte, 16)
		_, _ = client.Read(buf) // answers the ping on its way to the data
	}()
	buf := make([]byte, 16)
	if n, err := server.Read(buf); err != nil || string(buf[:n]) != "up" {
		t.Fatalf("server read %q, %v", buf[:n], err)
	}
	if _, err := b.Write(ServerPing([]byte("are you there"))); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte("down"))
		for err == nil {
			_, err = server.Read(buf)
		}
		got <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); len(server.Pongs()) == 0 && time.Since(start) < time.Second; {
		<-tick.C
	}
	must(t, client.Close())
	if err := <-got; err == nil {
		t.Error("the server read on after the end")
	}
	if pongs := server.Pongs(); len(pongs) != 1 || pongs[0] != "are you there" {
		t.Errorf("pongs: %q", pongs)
	}
}

// TestPingDoesNotHoldUpReading: a peer that pings, sends, and does not read. A net.Pipe has no buffer: no pong can go out.
func TestPingDoesNotHoldUpReading(t *testing.T) {
	a, b := net.Pipe()
	client, err := NewTunnel(WebSocket, a)
	must(t, err)
	deadline := time.Now().Add(time.Second)
	must(t, a.SetReadDeadline(deadline))
	must(t, b.SetDeadline(deadline))
	server := NewWSServer(b)
	sent := make(chan error, 1)
	go func() {
		for _, frame := range [][]byte{ServerPing([]byte("1")), ServerPing([]byte("2"))} {
			if _, err := b.Write(frame); err != nil {
				sent <- err
				return
			}
		}
		_, err := server.Write([]byte("data"))
		sent <- err
	}()
	buf := make([]byte, 16)
	if n, err := client.Read(buf); err != nil || string(buf[:n]) != "data" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	must(t, <-sent)
	must(t, client.Close())
	must(t, b.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// crypto/tls leaves a write deadline in the past behind its close_notify. A pong that met it would end the hop's TLS session.
func TestPongsGoOnBehindTheInnerCloseNotify(t *testing.T) {
	config := serverConfig(t)
	servers := make(chan *WSServer, 1)
	hop, wait := pair(t, func(c net.Conn) error {
		outer := tls.Server(c, config)
		server := NewWSServer(outer)
		servers <- server
		inner := tls.Server(server, config)
		if _, err := io.ReadAll(inner); err != nil { // to the client's close_notify
			return err
		}
		for range 3 {
			if _, err := outer.Write(ServerPing([]byte("still there"))); err != nil {
				return err
			}
		}
		if _, err := inner.Write([]byte("answer")); err != nil {
			return err
		}
		_, err := server.Read(make([]byte, 1)) // takes the pongs on its way to the end
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	insecure := &tls.Config{InsecureSkipVerify: true}
	tunnel, err := NewTunnel(WebSocket, tls.Client(NewEndWatch(hop), insecure))
	must(t, err)
	inner := tls.Client(NewEndWatch(tunnel), insecure)
	_, err = inner.Write([]byte("question"))
	must(t, err)
	must(t, inner.CloseWrite())
	buf := make([]byte, len("answer"))
	_, err = io.ReadFull(inner, buf)
	must(t, err)
	server := <-servers
	for start := time.Now(); len(server.Pongs()) == 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Second {
			t.Fatal("no pong came behind the close_notify")
		}
	}
	must(t, CloseWrite(tunnel))
	must(t, wait())
}
