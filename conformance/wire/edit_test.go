package wire

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
)

func TestEditChangesExtensionsAndNothingElse(t *testing.T) {
	msg := NewHello(HelloOptions{SNI: "a.test", ALPN: []string{"x"}})
	same, err := Edit(msg, func(list []Extension) []Extension { return list })
	if err != nil || !bytes.Equal(same, msg) {
		t.Fatalf("unchanged it differs: %v", err)
	}
	other, err := Edit(msg, func(list []Extension) []Extension {
		list = Set(list, Extension{ExtServerName, SNIBody("b.test")})
		list = Set(list, Extension{ExtPadding, make([]byte, 9)})
		return Set(list, Extension{ExtALPN, nil})
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseMessage(other)
	if err != nil || h.SNI != "b.test" || h.ALPN != nil || h.Extensions[0] != ExtPadding || !bytes.Equal(h.Random, msg[6:38]) {
		t.Errorf("%+v, %v", h, err)
	}
	for n := range len(msg) - 1 {
		if _, err := Edit(msg[:n], func(list []Extension) []Extension { return list }); err == nil {
			t.Fatalf("%d bytes of %d were edited", n, len(msg))
		}
	}
}

func TestOldHelloSaysItsVersionOnce(t *testing.T) {
	h, err := ParseMessage(OldHello(0x0302, "a.test", "x"))
	if err != nil || h.Message[4] != 3 || h.Message[5] != 2 || h.Versions != nil || slices.Contains(h.Extensions, ExtKeyShare) {
		t.Errorf("%+v, %v", h, err)
	}
}

// Both sides of a handshake in which early data is passed over.
func TestAnswerPassesOverEarlyData(t *testing.T) {
	msg, key, err := HelloTLS13(HelloOptions{SNI: "a.test", ALPN: []string{"x"}, Last: []Extension{{ExtEarlyData, []byte{}}}})
	if err != nil {
		t.Fatal(err)
	}
	var early [][]byte
	client, wait := pair(t, func(c net.Conn) error {
		buf := make([]byte, 4096)
		n, err := io.ReadAtLeast(c, buf, 5+len(msg))
		if err != nil {
			return err
		}
		h, used, err := ParseHello(buf[:n])
		if err != nil {
			return err
		}
		s, err := Answer(WithPrefix(c, buf[used:n]), h, "x", func(fragment []byte) { early = append(early, fragment) })
		if err != nil {
			return err
		}
		_, err = io.CopyN(s, s, 4)
		return err
	})
	if _, err := client.Write(slices.Concat(Records(msg)[0], Record(20, 0x0303, []byte{1}), Record(23, 0x0303, make([]byte, 100)))); err != nil {
		t.Fatal(err)
	}
	s, err := Connect(client, msg, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "ping" || s.ALPN != "x" {
		t.Errorf("read %q, %v; ALPN %q", got, err, s.ALPN)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	if len(early) != 1 || len(early[0]) != 100 {
		t.Errorf("%d records were passed over", len(early))
	}
}
