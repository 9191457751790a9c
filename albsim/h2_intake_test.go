package albsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestH2UpgradeIsAnsweredByOurOwnPageAndLogged(t *testing.T) {
	m := start(t, secure(t, "127.0.0.1:1"), Options{})
	h := m.dialH2()
	f := h.headers(h.open(true, ":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/up",
		"connection", "Upgrade", "upgrade", "websocket"))
	if got := f.PseudoValue("status"); got != "400" || !slices.Contains(f.RegularFields(), hpack.HeaderField{Name: "server", Value: "awselb/2.0"}) {
		t.Errorf("got %v", f.Fields)
	}
	line := m.logLines(1)[0]
	if line[0] != "h2" || line[8] != "400" || !strings.Contains(strings.Join(line, " "), `/up HTTP/2.0"`) {
		t.Errorf("log %q", line)
	}
}

func TestALB_KA_02_ALongCompressedFieldIsGoAwayAnd000(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, secure(t, target.addr), Options{})
	h := m.dialH2()
	get := []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/"}
	// x takes seven bits: 8 K of it compressed are 9362 letters.
	if got := h.status(h.open(true, append(slices.Clone(get), "a", strings.Repeat("x", 9362))...)); got != 200 {
		t.Fatalf("a field of 8 K: status %d", got)
	}
	refused := h.open(false, append(slices.Clone(get), "a", strings.Repeat("x", 9364))...)
	if err := h.framer.WriteData(refused, true, []byte("dropped")); err != nil {
		t.Fatal(err)
	}
	goAway := false
	for {
		frame, err := h.framer.ReadFrame()
		if errors.Is(err, io.EOF) && goAway {
			break
		}
		if err != nil {
			t.Fatalf("GOAWAY %v, then %v", goAway, err)
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			if goAway = true; f.ErrCode != http2.ErrCodeNo {
				t.Errorf("GOAWAY with %v", f.ErrCode)
			}
		case *http2.MetaHeadersFrame:
			t.Errorf("answered with %v", f.Fields)
		}
	}
	lines := m.logLines(2)
	if !slices.ContainsFunc(lines, func(f []string) bool { return f[0] == "h2" && f[8] == "000" }) {
		t.Errorf("log %q", lines)
	}
	if n := target.accepts.Load(); n != 1 || len(target.heads) != 1 {
		t.Errorf("the target got %d connections, %d requests", n, len(target.heads))
	}
}

func TestH2FieldsKeepTheirOrder(t *testing.T) {
	target := newStub(t, nil, ok)
	h := start(t, secure(t, target.addr), Options{}).dialH2()
	h.status(h.open(true, ":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/",
		"z", "1", "b", "2", "x-albsim-names", "mine", "z", "3", "cookie", "c=1", "a", "4", "cookie", "d=2"))
	head := target.head(t)
	if _, rest, _ := strings.Cut(head, "X-Amzn-Trace-Id"); !strings.HasSuffix(rest,
		"\r\nz: 1\r\nb: 2\r\nx-albsim-names: mine\r\nz: 3\r\ncookie: c=1; d=2\r\na: 4\r\n\r\n") {
		t.Errorf("target got %q", head)
	}
}

// TestH2IntakePassesAllWaysToWriteAHead goes over padding, priority, continuation and the dynamic table.
func TestH2IntakePassesAllWaysToWriteAHead(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, secure(t, target.addr), Options{})
	h := m.dialH2()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := range 3 { // the second and third refer to what the first put into the table
		block.Reset()
		for _, f := range []hpack.HeaderField{
			{Name: ":method", Value: "GET"},
			{Name: ":scheme", Value: "https"},
			{Name: ":authority", Value: "a"},
			{Name: ":path", Value: "/"},
			{Name: "x-kept", Value: "in the table"},
		} {
			if err := enc.WriteField(f); err != nil {
				t.Fatal(err)
			}
		}
		id := h.stream
		h.stream += 2
		err := h.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: block.Bytes()[:2], EndStream: true, PadLength: uint8(i * 7),
			Priority: http2.PriorityParam{Weight: uint8(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(h.framer.WriteContinuation(id, false, nil), h.framer.WriteContinuation(id, true, block.Bytes()[2:])); err != nil {
			t.Fatal(err)
		}
		if got := h.status(id); got != 200 {
			t.Fatalf("request %d: status %d", i, got)
		}
		if head := target.head(t); !strings.Contains(head, "x-kept: in the table\r\n") {
			t.Errorf("target got %q", head)
		}
	}
}

// FuzzH2Intake has any bytes come in behind the preface: what goes on is as a rule no longer than that, and never without end.
func FuzzH2Intake(f *testing.F) {
	seed := func(fields ...string) []byte {
		var out, block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
				f.Fatal(err)
			}
		}
		framer := http2.NewFramer(&out, nil)
		err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, PadLength: 3})
		if err = errors.Join(err, framer.WriteData(1, true, []byte("body"))); err != nil {
			f.Fatal(err)
		}
		return out.Bytes()
	}
	f.Add(seed(":method", "GET", ":path", "/", "upgrade", "x", "te", "gzip", "a", "b"))
	f.Add(seed("grpc-status", "0"))
	f.Add(seed(":method", "GET", "a", strings.Repeat("x", 9999)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1 << 10
		conn := tls.Client(net.Conn(replayConn{}), &tls.Config{InsecureSkipVerify: true})
		in := newH2Intake(&plainConn{Conn: conn}, limit, func([]hpack.HeaderField) {})
		in.br = newReader(append([]byte(http2.ClientPreface), raw...))
		begun := time.Now()
		out, err := io.ReadAll(in)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errLineTooLong) {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(out, []byte(http2.ClientPreface)) || time.Since(begun) > 5*time.Second {
			t.Fatalf("%d bytes became %d in %v", len(raw), len(out), time.Since(begun))
		}
		framer := http2.NewFramer(nil, bytes.NewReader(out[len(http2.ClientPreface):]))
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if head, is := frame.(*http2.MetaHeadersFrame); is && len(head.PseudoFields()) > 0 {
				for _, one := range head.RegularFields() {
					if slices.Contains(h2Forbidden, one.Name) {
						t.Fatalf("%v went through", one)
					}
				}
			}
		}
	})
}
