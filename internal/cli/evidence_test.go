package cli

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/capture"
)

// traced is a trace with a TCP connection, one that was refused, and a layer in the clear.
func traced(t *testing.T) wire.Trace {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var rec wire.Recorder
	c, err := wire.Dial(t.Context(), ln.Addr().String(), &rec)
	if err != nil {
		t.Fatal(err)
	}
	layer := wire.NewConn(c, &rec, "http")
	if _, err := layer.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = layer.Close()
	_ = ln.Close()
	if _, err := wire.Dial(t.Context(), ln.Addr().String(), &rec); err == nil {
		t.Fatal("a closed port was dialled")
	}
	trace := rec.Trace()
	trace.Events = append(trace.Events, wire.Event{At: time.Now(), Conn: "witness-a", Kind: "witness", Text: `{"nonce":"c1"}`})
	return trace
}

func TestEvidenceIsReadBack(t *testing.T) {
	trace := traced(t)
	const keylog = "CLIENT_RANDOM 01 02\n"
	sink := &evidence{dir: t.TempDir()}
	files, err := sink.Save("X-01-direct", conformance.Evidence{Trace: trace, KeyLog: []byte(keylog), Sessions: 1})
	if err != nil || len(files) != 2 || len(sink.files) != 2 {
		t.Fatalf("%v %v", files, err)
	}
	text, err := os.ReadFile(filepath.Join(sink.dir, files[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tcp#1/http#1", "no-open", "connection refused", `witness     {"nonce":"c1"}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the timeline lacks %q:\n%s", want, text)
		}
	}
	if list := segments(trace); len(list) != 3 || list[0].Conn != "tcp#1" {
		t.Errorf("open, write and close of one TCP connection, not %+v", list)
	}
	if _, err := sink.Save("X-02-direct", conformance.Evidence{Trace: trace, Sessions: 1}); err == nil || !strings.Contains(err.Error(), "secrets of 0 TLS sessions") {
		t.Errorf("without a key log: %v", err)
	}
	if _, err := (&evidence{dir: filepath.Join(sink.dir, files[0])}).Save("X-03", conformance.Evidence{}); err == nil {
		t.Error("evidence in a folder that is none")
	}
}

// oneHop is a server of which no secrets are known.
type oneHop netip.AddrPort

func (h oneHop) JudgedHops([]conformance.Target) []capture.Hop {
	return []capture.Hop{{Name: "to a stranger", Server: netip.AddrPort(h)}}
}

func (oneHop) LogJudged(*capture.KeyLog) {}

// TestEvidenceHasAllHops where packets may be read, and none of a check that opened nothing meanwhile.
func TestEvidenceHasAllHops(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sink := &evidence{dir: t.TempDir()}
	stop := sink.watch(oneHop(ln.Addr().(*net.TCPAddr).AddrPort()), nil, slog.New(slog.DiscardHandler))
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	want := 3
	if sink.hops == nil {
		if os.Geteuid() == 0 {
			t.Fatal("root may not read packets")
		}
		want = 2
	}
	var rec wire.Recorder
	began := time.Now()
	c, err := wire.Dial(t.Context(), ln.Addr().String(), &rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("to be seen")); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	files, err := sink.Save("X-01-direct", conformance.Evidence{Trace: rec.Trace(), Began: began, Ended: time.Now()})
	if err != nil || len(files) != want || len(sink.files) != want {
		t.Fatalf("%v %v", files, err)
	}
	if data, err := os.ReadFile(filepath.Join(sink.dir, files[want-1])); err != nil || !strings.Contains(string(data), "to be seen") {
		t.Errorf("%s does not have what was sent (%v)", files[want-1], err)
	}
	files, err = sink.Save("X-02-direct", conformance.Evidence{Trace: wire.Trace{}, Began: time.Now(), Ended: time.Now()})
	if err != nil || len(files) != 2 {
		t.Errorf("of nothing: %v %v", files, err)
	}
}
