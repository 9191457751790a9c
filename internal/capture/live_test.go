package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
)

// TestLiveWritesTheConnectionsOfAMoment: of two servers, ours and the one behind it, and of two clients, one of which is another's.
func TestLiveWritesTheConnectionsOfAMoment(t *testing.T) {
	serve := func() (net.Listener, netip.AddrPort) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln, ln.Addr().(*net.TCPAddr).AddrPort()
	}
	front, frontAddress := serve()
	back, backAddress := serve()
	l, err := StartLive([]Hop{{Name: "front", Server: frontAddress}, {Name: "back", Server: backAddress}})
	if errors.Is(err, ErrNotPermitted) {
		if os.Geteuid() == 0 {
			t.Fatal(err)
		}
		t.Logf("not looked at: %v", err) // what is left without a right is that it says so
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	talk := func(ln net.Listener, text string) netip.AddrPort {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, len(text))); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Close(), s.Close()
		return c.LocalAddr().(*net.TCPAddr).AddrPort()
	}
	talk(front, "before")
	if err := l.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	mine := talk(front, "mine")
	talk(front, "another's")
	talk(back, "behind")
	long := bytes.Repeat([]byte("x"), 40<<10)
	talk(back, string(long))
	var file bytes.Buffer
	n, err := l.Write(t.Context(), &file, from, time.Now(), func(c netip.AddrPort) bool { return c == mine }, []byte("CLIENT_RANDOM 01 02\n"))
	if err != nil || n.Connections != 3 || len(n.Sealed) != 0 {
		t.Fatalf("%+v, %v", n, err)
	}
	for text, want := range map[string]bool{"mine": true, "behind": true, "another's": false, "before": false, "CLIENT_RANDOM 01 02": true} {
		if got := bytes.Contains(file.Bytes(), []byte(text)); got != want {
			t.Errorf("%q is in the file: %v", text, got)
		}
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file.Bytes()), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	cut, packets := 0, 0
	for {
		_, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		packets++
		if info.CaptureLength < info.Length {
			cut++
		}
	}
	if packets < 9 || cut == 0 {
		t.Errorf("%d packets, %d of them cut", packets, cut)
	}
	if n, err := l.Write(t.Context(), &file, time.Now(), time.Now(), func(netip.AddrPort) bool { return true }, nil); n.Connections != 0 || err != nil {
		t.Errorf("of no time at all: %+v, %v", n, err)
	}
}

func TestLiveSaysWhyNot(t *testing.T) {
	refuse := func(string, []uint16) (source, error) { return nil, os.ErrPermission }
	if _, err := startLive([]Hop{{Server: netip.MustParseAddrPort("127.0.0.1:1")}}, refuse); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("without the right: %v", err)
	}
	silent := func(string, []uint16) (source, error) { return openSocket(Loopback, []uint16{1}) }
	l, err := startLive(nil, silent)
	if err != nil {
		t.Logf("not looked at: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Write(ctx, io.Discard, time.Now(), time.Now(), nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reader that sees nothing: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Write(t.Context(), io.Discard, time.Now(), time.Now(), nil, nil); err == nil {
		t.Error("written after the end")
	}
}
