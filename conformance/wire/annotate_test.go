package wire

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnnotatorNamesRecords(t *testing.T) {
	msg, _, err := HelloTLS13(HelloOptions{SNI: "a.test", ALPN: []string{"p", "q"}})
	if err != nil {
		t.Fatal(err)
	}
	hello := slices.Concat(Records(msg)...)
	split := slices.Concat(Records(msg, 20, MaxFragment)...)
	for name, tc := range map[string]struct {
		passed [][]byte
		want   []string
	}{
		"a hello in one":           {[][]byte{hello}, []string{`ClientHello, name "a.test", ALPN [p q], `}},
		"byte by byte":             {slices.Collect(slices.Chunk(hello, 1)), []string{`ClientHello, name "a.test", ALPN [p q], `}},
		"a hello in two records":   {[][]byte{split}, []string{"ClientHello, the first 20 of ", "handshake, a fragment of "}},
		"an alert":                 {[][]byte{Record(recordAlert, 0x0303, []byte{2, 120})}, []string{"alert 120 no_application_protocol"}},
		"an alert without a name":  {[][]byte{Record(recordAlert, 0x0303, []byte{2, 121})}, []string{"alert 121, which has no name"}},
		"an encrypted alert":       {[][]byte{Record(recordAlert, 0x0303, make([]byte, 24))}, []string{"alert, encrypted, 24 bytes"}},
		"two messages, one record": {[][]byte{Record(recordHandshake, 0x0303, []byte{11, 0, 0, 1, 0, 14, 0, 0, 0})}, []string{"Certificate, ServerHelloDone, 9 bytes"}},
		"encrypted in TLS 1.2": {
			[][]byte{append(Record(recordCCS, 0x0303, []byte{1}), Record(recordHandshake, 0x0303, bytes.Repeat([]byte{20}, 40))...)},
			[]string{"change_cipher_spec", "handshake, encrypted, 40 bytes"},
		},
		"a second hello behind change_cipher_spec": {[][]byte{append(Record(recordCCS, 0x0303, []byte{1}), hello...)}, []string{"change_cipher_spec", "ClientHello, name"}},
		"protected":              {[][]byte{Record(recordApplication, 0x0303, make([]byte, 7))}, []string{"protected, 7 bytes"}},
		"HTTP, then TLS":         {[][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), hello}, []string{"ClientHello, name"}},
		"nonsense of that type":  {[][]byte{{22, 3, 1, 255, 255, 0}}, nil},
		"a record that is begun": {[][]byte{hello[:40]}, nil},
	} {
		var a annotator
		var got []string
		for _, p := range tc.passed {
			got = append(got, a.see(p, 0)...)
		}
		if len(got) != len(tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tc.want[i]) {
				t.Errorf("%s: %q, want %q…", name, got[i], tc.want[i])
			}
		}
	}
	var a annotator
	if got := append(a.see(hello[:40], 100), a.see(hello, 0)...); len(got) != 1 {
		t.Errorf("behind a hole: %q", got)
	}
}

// TestTimelineInterleaves bytes, TLS messages, alerts, timers and what was made to go wrong, in the order of time.
func TestTimelineInterleaves(t *testing.T) {
	var rec Recorder
	client, server := net.Pipe()
	c := NewConn(client, &rec, "tcp")
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		_, _ = server.Read(buf)
		_, _ = server.Write(Record(recordAlert, 0x0303, []byte{2, 112}))
		server.Close()
	}()
	rec.Timer("wait", 2*time.Second)
	err := tls.Client(c, &tls.Config{ServerName: "b.test", NextProtos: []string{"p"}, MinVersion: tls.VersionTLS13}).Handshake()
	if err == nil {
		t.Fatal("a handshake without a server")
	}
	_ = c.Reset() // a pipe has no TCP below, and is closed
	<-done
	var out strings.Builder
	if err := rec.Trace().WriteTimeline(&out); err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, want := range []string{"timer", "wait 2s", "write", "= TLS ClientHello, name \"b.test\", ALPN [p]", "16 03 01", "read", "= TLS alert 112 unrecognized_name", "15 03 03", "fault", "tcp#1 is reset by the check", "reset"} {
		i := strings.Index(out.String()[at+1:], want)
		if i < 0 {
			t.Fatalf("no %q behind what comes before it:\n%s", want, out.String())
		}
		at += i + 1
	}
}

func TestAlertNames(t *testing.T) {
	if diff := cmp.Diff([]string{"0 close_notify", "120 no_application_protocol", "255, which has no name"}, []string{AlertName(0), AlertName(120), AlertName(255)}); diff != "" {
		t.Error(diff)
	}
}

// TestTimelineTellsOfTheSplitting, without which a drip looks like a slow network.
func TestTimelineTellsOfTheSplitting(t *testing.T) {
	var rec Recorder
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, server)
	}()
	msg, _, err := HelloTLS13(HelloOptions{SNI: "a.test"})
	if err != nil {
		t.Fatal(err)
	}
	hello := slices.Concat(Records(msg)...)
	c := NewConn(client, &rec, "tcp")
	if _, err := NewSplitConn(c, time.Microsecond, Cut(5)).Write(hello); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	<-done
	var out strings.Builder
	if err := rec.Trace().WriteTimeline(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "fault") || !strings.Contains(out.String(), "goes over tcp#1 in 2 pieces, 1µs apart") || !strings.Contains(out.String(), "= TLS ClientHello, name \"a.test\"") {
		t.Errorf("the timeline is\n%s", out.String())
	}
}
