package strength

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// through sends up through a handler, half-closes, and returns what a server got behind it that sends down and closes.
func through(t *testing.T, h Handler, up, down []byte) (server, client []byte, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer ln.Close()
	p, err := Listen(dialTCP(ln.Addr().String()), h)
	check(t, err)
	defer p.Close()
	done := make(chan []byte, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- nil
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = c.Write(down)
			_ = netx.CloseWrite(c)
		})
		got, _ := io.ReadAll(c)
		wg.Wait()
		done <- got
	}()
	c, err := net.Dial("tcp", p.Address())
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = c.Write(up)
	check(t, err)
	check(t, netx.CloseWrite(c))
	client, clientErr = io.ReadAll(c)
	return <-done, client, clientErr
}

func TestProxyWithoutAFaultChangesNothing(t *testing.T) {
	up, down := bytes.Repeat([]byte("up"), 1<<16), bytes.Repeat([]byte("down"), 1<<16)
	request := []byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: alpn\r\n\r\nbehind")
	answer := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: alpn\r\n\r\nrest")
	for _, c := range []struct {
		name     string
		fault    Fault
		up, down []byte
	}{
		{"wire", Fault{Layer: Wire}, up, down},
		{"http", Fault{Layer: HTTP}, request, answer},
		{"idle", Fault{Layer: HTTP, Idle: idleTime}, request, answer},
	} {
		server, client, err := through(t, c.fault.none().New(), c.up, c.down)
		if err != nil || !bytes.Equal(server, c.up) || !bytes.Equal(client, c.down) {
			t.Errorf("%s: the server got %d of %d bytes, the client %d of %d, %v", c.name, len(server), len(c.up), len(client), len(c.down), err)
		}
	}
}

func TestResetsArePassedOnAsResets(t *testing.T) {
	_, _, err := through(t, Pipe(nil, closeBoth), []byte("x"), wire.Record(typeAlert, 0x0303, []byte{1, 0}))
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, not a reset", err)
	}
}

func TestBytesAreSpoiledAtThePlace(t *testing.T) {
	data := make([]byte, place+1000)
	for i := range data {
		data[i] = byte(i % 251)
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   []byte
	}{
		"dropped": {dropOne, append(bytes.Clone(data[:place]), data[place+1:]...)},
		"doubled": {doubleOne, append(append(bytes.Clone(data[:place+1]), data[place]), data[place+1:]...)},
		"flipped": {flipOne, append(append(bytes.Clone(data[:place]), data[place]^1), data[place+1:]...)},
	} {
		got, _, _ := through(t, Pipe(spoilAt(c.change), nil), data, nil)
		if !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d bytes came, want %d", name, len(got), len(c.want))
		}
	}
	if got, _, _ := through(t, Pipe(loseTail, nil), data, nil); !bytes.Equal(got, data[:len(data)-100]) {
		t.Errorf("lost tail: %d of %d bytes came", len(got), len(data))
	}
}

func TestRecordsAndHellos(t *testing.T) {
	hello := wire.NewHello(wire.HelloOptions{SNI: "a.example.test"})
	one := bytes.Join(wire.Records(hello), nil)
	two := bytes.Join(wire.Records(hello, 50), nil)
	alert := wire.Record(typeAlert, 0x0303, []byte{2, 112})
	v1 := []byte("PROXY TCP4 127.0.0.1 127.0.0.2 1 2\r\n")
	v2 := append([]byte(wire.ProxyV2Signature), 0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 2, 0, 1, 0, 2)
	for _, c := range []struct {
		name     string
		copy     Copy
		in, want []byte
	}{
		{"version", each(oldVersion), one, append([]byte{22, 3, 2}, one[3:]...)},
		{"first record", each(oneRecord), two, two[:55]},
		{"no alert", each(noAlert), append(bytes.Clone(one), alert...), one},
		{"other alert", each(otherAlert), alert, append(bytes.Clone(alert[:6]), 80)},
		{"no TLS", each(oldVersion), []byte("GET / HTTP/1.1\r\n\r\n"), []byte("GET / HTTP/1.1\r\n\r\n")},
		{"half a record", each(oldVersion), one[:20], one[:20]},
		{"behind", firstRead(loseBehind), append(bytes.Clone(one), "behind"...), one},
		{"PROXY v1", firstRead(noProxy), append(bytes.Clone(v1), one...), append(bytes.Clone(v1), one...)},
		{"PROXY v2", firstRead(noProxy), append(bytes.Clone(v2), one...), one},
		{"behind PROXY", firstRead(loseBehindProxy), append(bytes.Clone(v2), one...), v2},
	} {
		if got, _, _ := through(t, Pipe(c.copy, nil), c.in, nil); !bytes.Equal(got, c.want) {
			t.Errorf("%s: got % x, want % x", c.name, got, c.want)
		}
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // its queue accepts, nobody answers
	check(t, err)
	defer ln.Close()
	p, err := Listen(dialTCP(ln.Addr().String()), Pipe(keepEnd, stall))
	check(t, err)
	c, err := net.Dial("tcp", p.Address())
	check(t, err)
	defer c.Close()
	check(t, netx.CloseWrite(c))
	p.Close() // goleak would find what is left
}

func TestSelect(t *testing.T) {
	list, err := Select([]string{"byte-*"})
	if err != nil || len(list) != 4 {
		t.Errorf("byte-*: %d faults, %v", len(list), err)
	}
	if _, err := Select([]string{"nonsense"}); err == nil {
		t.Error("a name that means no fault is taken")
	}
}

func TestOnlyRoutersAreMeasured(t *testing.T) {
	if _, err := Run(t.Context(), conformance.Target{Role: conformance.Client}, Options{}); err == nil {
		t.Error("a client was measured")
	}
}
