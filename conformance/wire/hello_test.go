package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// goHello is the ClientHello of crypto/tls, as it goes over the wire.
func goHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); _ = tls.Client(a, cfg).Handshake() }()
	defer func() { a.Close(); <-done }()
	defer b.Close()
	raw := make([]byte, 64<<10)
	n, err := b.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw[:n]
}

func TestParseReadsWhatCryptoTLSWrites(t *testing.T) {
	raw := goHello(t, &tls.Config{ServerName: "pg.example.test", NextProtos: []string{"x", "http/1.1"}, MinVersion: tls.VersionTLS13})
	whole, n, err := ParseHello(raw)
	if err != nil || n != len(raw) {
		t.Fatalf("%d of %d bytes: %v", n, len(raw), err)
	}
	if whole.SNI != "pg.example.test" || !whole.HasSNI || !slices.Equal(whole.ALPN, []string{"x", "http/1.1"}) || !slices.Equal(whole.Versions, []uint16{0x0304}) || whole.HasECH {
		t.Errorf("%+v", whole)
	}
	for name, sizes := range map[string][]int{"one byte a record": {1}, "header cut": {2, 5, 100}, "two": {700}, "as long as may be": nil} {
		cut := append(slices.Concat(Records(whole.Message, sizes...)...), "behind"...)
		got, n, err := ParseHello(cut)
		if err != nil || n != len(cut)-len("behind") || !bytes.Equal(got.Message, whole.Message) || !bytes.Equal(got.Raw, cut[:n]) || got.SNI != whole.SNI {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
	}
	anonymous, _, err := ParseHello(goHello(t, &tls.Config{InsecureSkipVerify: true}))
	if err != nil || anonymous.HasSNI || anonymous.ALPN != nil {
		t.Errorf("a hello without name and ALPN: %+v, %v", anonymous, err)
	}
}

func TestEveryPrefixNeedsMore(t *testing.T) {
	raw := slices.Concat(Records(NewHello(HelloOptions{SNI: "a.test", ALPN: []string{"x"}}), 50)...)
	for i := range raw {
		if _, _, err := ParseHello(raw[:i]); !errors.Is(err, ErrNeedMore) {
			t.Fatalf("%d of %d bytes: %v", i, len(raw), err)
		}
	}
}

func TestWhatCannotBeAHelloIsMalformed(t *testing.T) {
	good := NewHello(HelloOptions{SNI: "a.test", ALPN: []string{"x"}})
	with := func(typ uint16, body []byte) []byte {
		return Records(NewHello(HelloOptions{SNI: "a.test", Override: []Extension{{typ, body}}}))[0]
	}
	for name, raw := range map[string][]byte{
		"HTTP":                      []byte("GET / HTTP/1.1\r\n"),
		"an alert":                  Record(21, 0x0303, []byte{2, 40}),
		"another major version":     Record(22, 0x0203, good),
		"an empty fragment":         Record(22, 0x0301, nil),
		"a record too long":         Record(22, 0x0301, make([]byte, MaxFragment+1)),
		"another message":           Record(22, 0x0301, Handshake(2, make([]byte, 40))),
		"a message too long":        Record(22, 0x0301, []byte{1, 0xff, 0, 0}),
		"extensions longer than it": Record(22, 0x0301, Handshake(1, append(good[4:len(good):len(good)], 0))),
		"empty list of names":       with(ExtServerName, []byte{0, 0}),
		"empty name":                with(ExtServerName, SNIBody("")),
		"empty ALPN":                with(ExtALPN, []byte{0, 0}),
		"cut short":                 Record(22, 0x0301, Handshake(1, good[4:60])),
	} {
		var bad *MalformedError
		if _, _, err := ParseHello(raw); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBuilderDoesAsAsked(t *testing.T) {
	for _, size := range []int{4096, 16384, 65000} {
		msg := NewHello(HelloOptions{SNI: "a.test", PadTo: size})
		if len(msg) != size {
			t.Errorf("padded to %d: %d bytes", size, len(msg))
		}
	}
	grease := GREASE()
	msg := NewHello(HelloOptions{SNI: "a.test", Suites: grease[:1], Groups: grease[1:2], Versions: grease[2:3], First: []Extension{{grease[3], nil}}, Last: []Extension{{ExtServerName, SNIBody("b.test")}}})
	h, err := ParseMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	got := []uint16{h.Suites[0], h.Groups[0], h.Versions[0], h.Extensions[0], h.Extensions[len(h.Extensions)-1]}
	if diff := cmp.Diff([]uint16{0x0a0a, 0x1a1a, 0x2a2a, 0x3a3a, ExtServerName}, got); diff != "" || h.SNI != "a.test" {
		t.Error(diff, h.SNI)
	}
}

func FuzzParseHello(f *testing.F) {
	f.Add(slices.Concat(Records(NewHello(HelloOptions{SNI: "a.test", ALPN: []string{"x"}}), 50)...))
	f.Add(goHello(f, &tls.Config{ServerName: "pg.example.test"}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, n, err := ParseHello(raw)
		var bad *MalformedError
		switch {
		case err == nil:
			if n > len(raw) || !bytes.Equal(h.Raw, raw[:n]) || len(h.Message) < 4 {
				t.Errorf("%d bytes of %d, message of %d", n, len(raw), len(h.Message))
			}
		case !errors.Is(err, ErrNeedMore) && !errors.As(err, &bad):
			t.Errorf("an error of neither kind: %v", err)
		}
	})
}

func TestSplitConnSendsThePlanAndThenPasses(t *testing.T) {
	raw := goHello(t, &tls.Config{ServerName: "a.test"})
	for name, plan := range map[string]func([]byte) [][]byte{"cut": Cut(7), "drip": Drip(500), "records": Fragment(false, 300), "one write": Fragment(true, 1), "version": Version(0x03ff)} {
		a, b := net.Pipe()
		split := NewSplitConn(a, 0, plan)
		done := make(chan error, 1)
		go func() {
			for _, part := range [][]byte{raw[:100], raw[100:], []byte("after")} { // crypto/tls may write in pieces
				if _, err := split.Write(part); err != nil {
					done <- err
					return
				}
			}
			done <- a.Close()
		}()
		got, err := io.ReadAll(b)
		if err = errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		want := append(slices.Concat(plan(raw)...), "after"...)
		if !bytes.Equal(got, want) || !bytes.Equal(split.Sent(), want[:len(want)-5]) {
			t.Errorf("%s: %d bytes came, want %d; Sent has %d", name, len(got), len(want), len(split.Sent()))
		}
	}
}

func TestSplitConnKeepsToItsSpan(t *testing.T) {
	a, b := net.Pipe()
	split := NewSplitConn(a, time.Minute, Drip(1))
	split.Within(20 * time.Millisecond)
	go func() { _, _ = io.Copy(io.Discard, b) }()
	if _, err := split.Write(goHello(t, &tls.Config{ServerName: "a.test"})); err != nil {
		t.Fatal(err)
	}
	if took := split.Took(); took < 10*time.Millisecond || took > 10*time.Second {
		t.Errorf("sent in %v", took)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
}
