package albsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2conn is an h2 connection that says what no h2 library lets one say.
type h2conn struct {
	t      *testing.T
	framer *http2.Framer
	stream uint32
}

func (m *sim) dialH2() *h2conn {
	m.t.Helper()
	c, _ := m.dialTLS(&tls.Config{NextProtos: []string{"h2"}})
	c.send(http2.ClientPreface)
	h := &h2conn{t: m.t, framer: http2.NewFramer(c, c.br), stream: 1}
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := h.framer.WriteSettings(); err != nil {
		m.t.Fatal(err)
	}
	return h
}

// open sends a request head and returns its stream.
func (h *h2conn) open(end bool, fields ...string) uint32 {
	h.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			h.t.Fatal(err)
		}
	}
	id := h.stream
	h.stream += 2
	err := h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// status is what the stream was answered with; 0 when it was reset.
func (h *h2conn) status(id uint32) int {
	h.t.Helper()
	f := h.headers(id)
	if f == nil {
		return 0
	}
	n, _ := strconv.Atoi(f.PseudoValue("status"))
	return n
}

// headers is the stream's next head; nil when it was reset.
func (h *h2conn) headers(id uint32) *http2.MetaHeadersFrame {
	h.t.Helper()
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			h.t.Fatalf("stream %d: %v", id, err)
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				return f
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return nil
			}
		case *http2.GoAwayFrame:
			h.t.Fatalf("stream %d: GOAWAY %v", id, f.ErrCode)
		}
	}
}

func TestH2RequestsThatHTTP1WouldReadOtherwiseAreRefused(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, secure(t, target.addr), Options{})
	pad := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name                    string
		method, path, authority string
		more                    []string
		end                     bool
		want                    int // 0: reset will do as well
	}{
		{"a line in the method", "GET /admin HTTP/1.1", "/", "a", nil, true, 400},
		{"a version in the path", "GET", "/admin HTTP/1.1", "a", nil, true, 400},
		{"a path in the authority", "GET", "/", "a/b", nil, true, 400},
		{"no authority", "GET", "/", "", nil, true, 400},
		{"a length and no body", "POST", "/", "a", []string{"content-length", "5"}, true, 400},
		{"two lengths", "POST", "/", "a", []string{"content-length", "5", "content-length", "6"}, false, 400},
		{"a length that is none", "POST", "/", "a", []string{"content-length", "+5"}, false, 400},
		{"LIM-01", "GET", "/" + pad(17000), "a", nil, true, 414},
		{
			"LIM-02 all headers", "GET", "/", "a",
			slices.Repeat([]string{"a", pad(9000)}, 8), // each within the 8 K of a compressed field
			true, 400,
		},
		{"TRACE", "TRACE", "/", "a", nil, true, 405},
		{"Upgrade", "GET", "/", "a", []string{"upgrade", "websocket", "connection", "upgrade"}, true, 400},
		{"Transfer-Encoding", "POST", "/", "a", []string{"transfer-encoding", "chunked"}, true, 400},
		{"TE of a connection", "GET", "/", "a", []string{"te", "gzip"}, true, 400},
		{"a list that decodes to far more", "GET", "/", "a", slices.Repeat([]string{"a", pad(3000)}, 300), true, 400},
	} {
		h := m.dialH2()
		fields := []string{":method", c.method, ":scheme", "https", ":path", c.path}
		if c.authority != "" {
			fields = append(fields, ":authority", c.authority)
		}
		id := h.open(c.end, append(fields, c.more...)...)
		if !c.end {
			if err := h.framer.WriteData(id, true, []byte("12345")); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.status(id); got != c.want && got != 0 {
			t.Errorf("%s: status %d, want %d", c.name, got, c.want)
		}
	}
	if got := target.accepts.Load(); got != 0 {
		head := target.head(t)
		t.Errorf("the target got %d connections, first %.200q", got, head)
	}
}

func TestH2LengthReachesTheTargetOnce(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		c.expect("12345")
		ok(c, head)
	})
	h := start(t, secure(t, target.addr), Options{}).dialH2()
	id := h.open(false, ":method", "POST", ":scheme", "https", ":path", "/", ":authority", "a", "content-length", "5")
	if err := h.framer.WriteData(id, true, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	if got := h.status(id); got != 200 {
		t.Errorf("status %d", got)
	}
	if head := target.head(t); strings.Count(head, "content-length: 5\r\n") != 1 || strings.Contains(head, "transfer-encoding") {
		t.Errorf("target got %q", head)
	}
}

func TestH2CancelReachesTheTarget(t *testing.T) {
	for _, when := range []string{"before the answer", "in its body"} {
		ended := make(chan error, 1)
		asked := make(chan struct{})
		target := newStub(t, nil, func(c *client, _ string) {
			if when == "in its body" {
				say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			}
			close(asked)
			_, err := c.br.ReadByte()
			ended <- err
		})
		h := start(t, secure(t, target.addr), Options{}).dialH2()
		id := h.open(true, ":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a")
		<-asked
		if when == "in its body" {
			if got := h.status(id); got != 200 {
				t.Errorf("status %d", got)
			}
		}
		if err := h.framer.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("cancelled %s: the target saw %v, want EOF", when, err)
		}
	}
}

func TestFoldedLineGoesWithTheFieldItBelongsTo(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, plain(target.addr), Options{})
	c := m.dial()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n evil\r\nX-Forwarded-Proto: b\r\n evil\r\nX-Mine: c\r\n folded\r\n\r\n")
	c.response()
	if head := target.head(t); strings.Contains(head, "evil") || !strings.Contains(head, "X-Mine: c\r\n folded:\r\n") {
		t.Errorf("target got %q", head)
	}
}

func TestTargetsFramingIsMadeUnambiguous(t *testing.T) {
	for answer, want := range map[string]string{
		"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok":                                "Content-Length: 2\r\n",
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n": "Transfer-Encoding: chunked\r\n",
	} {
		target := newStub(t, nil, func(c *client, _ string) {
			say(c, "HTTP/1.1 200 OK\r\n"+answer)
		})
		c := start(t, plain(target.addr), Options{}).dial()
		c.send(plainGet)
		head := c.head()
		if strings.Count(head, want) != 1 || strings.Count(head, "Content-Length")+strings.Count(head, "Transfer-Encoding") != 1 {
			t.Errorf("client got %q", head)
		}
	}
}

func TestFramingTricksDoNotReachASecondRequest(t *testing.T) {
	const hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
	post := "POST / HTTP/1.1\r\nHost: a\r\n"
	for _, c := range []struct {
		name, raw string
		want      int
	}{
		{"both framings", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 200},
		{"length in disguise", post + "Content_Length: 4\r\n\r\n" + hidden, 200},
		{"blank before the colon", post + "Content-Length : 4\r\n\r\n" + hidden, 200},
		{"chunk size ended by LF", post + "Transfer-Encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n" + hidden, 400},
		{"chunk size with a sign", post + "Transfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n" + hidden, 400},
		{"chunk longer than said", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n" + hidden, 400},
		{"encoding in disguise", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden, 501},
		{"encoding ended by CR", post + "Transfer-Encoding: chunked\rX: y\r\n\r\n0\r\n\r\n" + hidden, 400},
		{"length in a list", post + "Content-Length: 4, 4\r\n\r\nbody" + hidden, 400},
	} {
		target := newStub(t, nil, func(cl *client, head string) {
			if strings.HasPrefix(head, "POST / ") && strings.Contains(head, "Transfer-Encoding: chunked") {
				cl.expect("0\r\n\r\n")
			}
			ok(cl, head)
		})
		if c.want != 200 { // it may be refused behind its head
			target = newStub(t, nil, func(cl *client, _ string) { rest(cl) })
		}
		cl := start(t, plain(target.addr), Options{}).dial()
		cl.send(c.raw)
		if status, head, _ := cl.response(); status != c.want || fieldOf(head, "Connection") != "close" {
			t.Errorf("%s: got %q", c.name, head)
		}
		if b, err := io.ReadAll(cl.br); len(b) > 0 || err != nil {
			t.Errorf("%s: behind the answer: %q, %v", c.name, b, err)
		}
		for range len(target.heads) {
			if head := <-target.heads; strings.Contains(head, "/hidden") {
				t.Errorf("%s: the target got %q", c.name, head)
			}
		}
	}
}

func TestLogLinesCannotBeForged(t *testing.T) {
	target := newStub(t, nil, ok)
	m := start(t, plain(target.addr), Options{})
	c := m.dial()
	c.send("GET /\"\x0b200\x85x HTTP/1.1\r\nHost: a\"b\r\nUser-Agent: \" 200 200 \\\x07\r\nX-Amzn-Trace-Id: \"\r\n\r\n")
	c.response()
	lines := m.logLines(1)
	want := `"GET http://a\x22b:` // quoted fields keep their number: a quote, a control or a blank of the client's ends none
	if got := strings.Join(lines[0], " "); len(lines) != 1 || !strings.Contains(got, want) || strings.Count(got, `"`) != 30 {
		t.Errorf("%d lines, %d quotes: %s", len(lines), strings.Count(got, `"`), got)
	}
}

func TestALB_DES_StrictestBlocksDisguisesOfH2Too(t *testing.T) {
	for mode, want := range map[string]int{"defensive": 200, "strictest": 400} {
		target := newStub(t, nil, ok)
		cfg := secure(t, target.addr)
		cfg.Attributes["routing.http.desync_mitigation_mode"] = mode
		h := start(t, cfg, Options{}).dialH2()
		get := []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a", "content_length", "4"}
		if got := h.status(h.open(true, get...)); got != want {
			t.Errorf("%s: status %d, want %d", mode, got, want)
		}
	}
}
