package albsim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// tunnelled opens a tunnel through a profile with those knobs; the target runs serve in it.
func tunnelled(t *testing.T, set func(*Profile), serve func(c *client)) *client {
	target := newStub(t, nil, switching("x", serve))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, set)
	c := start(t, cfg, Options{}).dial()
	c.send(upgradeRequest("websocket"))
	c.head()
	c.expect("x")
	return c
}

// untilEnd reads until the end of the connection, and says how long that took since begun, which is before what is measured.
func (c *client) untilEnd(begun time.Time) time.Duration {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.br); err != nil {
		c.t.Errorf("the tunnel ended with %v, want EOF", err)
	}
	return time.Since(begun)
}

// chatter sends a byte each tenth of the time that a tunnel may be silent, until that fails.
func chatter(w io.Writer, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(w, "."); err != nil {
			return
		}
	}
}

func within(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got < want-10*time.Millisecond || got > want+patience/2 {
		t.Errorf("ended after %v, want about %v", got, want)
	}
}

func TestTunnelIdleIsTheProfilesUntilTheDocumentHasOne(t *testing.T) {
	begun := time.Now()
	c := tunnelled(t, func(p *Profile) { p.TunnelIdle, p.IdleTimeout = 300*time.Millisecond, time.Hour }, rest)
	within(t, c.untilEnd(begun), 300*time.Millisecond)

	target := newStub(t, nil, switching("x", rest))
	cfg := plain(target.addr)
	cfg.Profile = "test"
	cfg.Attributes["idle_timeout.timeout_seconds"] = 4
	begun = time.Now()
	c = start(t, cfg, tenth).dial()
	c.send(upgradeRequest("alpn"))
	c.head()
	within(t, c.untilEnd(begun), 400*time.Millisecond)
}

func TestTunnelIdleCanCountTheTargetAlone(t *testing.T) {
	const silence = 300 * time.Millisecond
	knobs := func(p *Profile) { p.TunnelIdle, p.TunnelIdleCounts = silence, "target" }
	begun := time.Now()
	c := tunnelled(t, knobs, echoNothing)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		chatter(c, silence/10)
	}()
	_, err := io.Copy(io.Discard, c.br) // EOF, or a reset for what was on its way
	within(t, time.Since(begun), silence)
	if timedOut(err) {
		t.Error("what the client sends keeps the tunnel")
	}
	c.Close()
	<-ended

	delete(profiles, "test")
	c = tunnelled(t, knobs, func(c *client) { chatter(c, silence/10) })
	c.SetReadDeadline(time.Now().Add(3 * silence))
	if _, err := io.Copy(io.Discard, c.br); !timedOut(err) {
		t.Errorf("a tunnel whose target speaks ended: %v", err)
	}
}

// echoNothing reads until the end.
func echoNothing(c *client) { _, _ = io.Copy(io.Discard, c.br) }

func TestTunnelLifeEndsOneThatIsAtWork(t *testing.T) {
	const life = 400 * time.Millisecond
	begun := time.Now()
	c := tunnelled(t, func(p *Profile) { p.TunnelLife = life }, func(c *client) { chatter(c, life/20) })
	within(t, c.untilEnd(begun), life)
}

func TestGCPEndsATunnelAtTheBackendTimeout(t *testing.T) {
	target := newStub(t, nil, switching("x", func(c *client) { chatter(c, 20*time.Millisecond) }))
	cfg := plain(target.addr)
	cfg.Profile = "gcp-l7"
	begun := time.Now()
	c := start(t, cfg, Options{TimeScale: 0.01}).dial() // 30 s are 300 ms
	c.send(upgradeRequest("websocket"))
	c.head()
	within(t, c.untilEnd(begun), 300*time.Millisecond)
}

func TestKeepAliveCanEndATunnel(t *testing.T) {
	begun := time.Now()
	c := tunnelled(t, func(p *Profile) { p.KeepAliveEndsTunnel, p.ClientKeepAlive = true, 400*time.Millisecond }, rest)
	within(t, c.untilEnd(begun), 400*time.Millisecond)
}

func TestResponseTimeoutIs504(t *testing.T) {
	target := newStub(t, nil, func(c *client, _ string) { rest(c) })
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.ResponseTimeout, p.IdleTimeout = 100*time.Millisecond, time.Hour })
	m := start(t, cfg, Options{})
	if status, head, _ := m.request(plainGet); status != 504 {
		t.Errorf("got %q", head)
	}
	if f := m.logLines(1)[0]; f[8] != "504" || f[9] != "-" {
		t.Errorf("log %q", f)
	}
}

func TestIdleTimeoutAndKeepAliveAreTheProfilesUntilTheDocumentHasThem(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.IdleTimeout, p.ClientKeepAlive = 300*time.Millisecond, 0 })
	m := start(t, cfg, Options{})
	begun := time.Now()
	c := m.dial()
	c.send(plainGet)
	if _, head, _ := c.response(); fieldOf(head, "Connection") != "keep-alive" {
		t.Errorf("got %q", head)
	}
	within(t, c.untilEnd(begun), 300*time.Millisecond)
}

// frame is a WebSocket frame; key is nil for an unmasked one.
func frame(first byte, payload string, key []byte) string {
	b := []byte{first}
	mask := byte(0)
	if key != nil {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	b = append(b, key...)
	for i := range len(payload) {
		c := payload[i]
		if key != nil {
			c ^= key[i%4]
		}
		b = append(b, c)
	}
	return string(b)
}

// seen is a frame as a reader of RFC 6455 has it.
type seen struct {
	first   byte
	payload string
	key     string
}

func readFrame(r io.Reader) (seen, error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:2]); err != nil {
		return seen{}, err
	}
	out := seen{first: b[0]}
	size, masked := uint64(b[1]&0x7f), b[1]&0x80 != 0
	long := map[uint64]int{126: 2, 127: 8}[size]
	if _, err := io.ReadFull(r, b[:long]); err != nil {
		return seen{}, unexpected(err)
	}
	switch long {
	case 2:
		size = uint64(binary.BigEndian.Uint16(b[:2]))
	case 8:
		size = binary.BigEndian.Uint64(b[:8]) &^ (1 << 63)
	}
	if masked {
		if _, err := io.ReadFull(r, b[:4]); err != nil {
			return seen{}, unexpected(err)
		}
		out.key = string(b[:4])
	}
	payload, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return seen{}, err
	}
	if uint64(len(payload)) < size {
		return seen{}, io.ErrUnexpectedEOF
	}
	for i := range payload {
		if masked {
			payload[i] ^= out.key[i%4]
		}
	}
	out.payload = string(payload)
	return out, nil
}

// oneByte reads a byte at a time, so that no boundary of a frame falls on one of a read.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

func TestFramesAreSplitAndMeanTheSame(t *testing.T) {
	long := strings.Repeat("0123456789", 20000) // takes a 64 bit length
	key := []byte{1, 2, 3, 4}
	for _, c := range []struct {
		name string
		in   string
		want []seen // without keys
	}{
		{"short", frame(0x82, "ab", nil), []seen{{0x82, "ab", ""}}},
		{"empty", frame(0x82, "", key), []seen{{0x82, "", ""}}},
		{"split", frame(0x82, "0123456789", key), []seen{{0x02, "0123", ""}, {0x00, "4567", ""}, {0x80, "89", ""}}},
		{"compressed", frame(0xc1, "01234567", nil), []seen{{0x41, "0123", ""}, {0x80, "4567", ""}}},
		{
			"already in fragments", frame(0x02, "012345", key) + frame(0x80, "67890", key),
			[]seen{{0x02, "0123", ""}, {0x00, "45", ""}, {0x00, "6789", ""}, {0x80, "0", ""}},
		},
		{
			"control frames stay whole", frame(0x89, "a ping of more", key) + frame(0x88, "\x03\xe8", nil),
			[]seen{{0x89, "a ping of more", ""}, {0x88, "\x03\xe8", ""}},
		},
	} {
		for _, source := range []io.Reader{strings.NewReader(c.in), oneByte{strings.NewReader(c.in)}} {
			r := (&join{p: &Profile{TunnelKnobs: TunnelKnobs{WebSocketFrames: "split", WebSocketFragment: 4}}}).framesOf(source)
			for i, want := range c.want {
				got, err := readFrame(r)
				got.key = ""
				if err != nil || got != want {
					t.Errorf("%s: frame %d is %+v (%v), want %+v", c.name, i, got, err, want)
				}
			}
			if _, err := readFrame(r); !errors.Is(err, io.EOF) {
				t.Errorf("%s: behind the last frame %v, want EOF", c.name, err)
			}
		}
	}
	r := (&join{p: &Profile{TunnelKnobs: TunnelKnobs{WebSocketFrames: "split", WebSocketFragment: 1000}}}).framesOf(strings.NewReader(frame(0x82, long, key)))
	var whole bytes.Buffer
	for n := 0; ; n++ {
		f, err := readFrame(r)
		if err != nil {
			t.Fatalf("frame %d: %v", n, err)
		}
		whole.WriteString(f.payload)
		if f.first&0x80 != 0 {
			if n != len(long)/1000-1 {
				t.Errorf("%d frames", n+1)
			}
			break
		}
	}
	if whole.String() != long {
		t.Error("the message has changed")
	}
}

func TestFramesAreMergedAndMeanTheSame(t *testing.T) {
	key, other := []byte{1, 2, 3, 4}, []byte{5, 6, 7, 8}
	for _, c := range []struct {
		name string
		in   string
		want []seen
	}{
		{"whole already", frame(0x82, "ab", nil) + frame(0x82, "cd", nil), []seen{{0x82, "ab", ""}, {0x82, "cd", ""}}},
		{"empty", frame(0x82, "", key), []seen{{0x82, "", string(key)}}},
		{"three", frame(0x01, "ab", key) + frame(0x00, "c", other) + frame(0x80, "de", nil), []seen{{0x81, "abcde", string(key)}}},
		{"compressed", frame(0x41, "ab", nil) + frame(0x80, "", nil), []seen{{0xc1, "ab", ""}}},
		{"up to what is held", frame(0x02, "012345", key) + frame(0x80, "67", key), []seen{{0x82, "01234567", string(key)}}},
		{
			"more than is held", frame(0x02, "0123456", key) + frame(0x80, "789abcdefgh", other),
			[]seen{{0x02, "01234567", string(key)}, {0x00, "89abcdef", string(key)}, {0x80, "gh", string(key)}},
		},
		{"a frame of more", frame(0x82, "0123456789", nil), []seen{{0x02, "01234567", ""}, {0x80, "89", ""}}},
		{
			"a control frame between", frame(0x02, "ab", nil) + frame(0x89, "a ping of more than is held", key) + frame(0x80, "cd", nil),
			[]seen{{0x02, "ab", ""}, {0x89, "a ping of more than is held", string(key)}, {0x80, "cd", ""}},
		},
		{"broken off by another", frame(0x02, "ab", nil) + frame(0x82, "cd", nil), []seen{{0x02, "ab", ""}, {0x82, "cd", ""}}},
		{"broken off by the end", frame(0x02, "ab", key), []seen{{0x02, "ab", string(key)}}},
	} {
		for _, source := range []io.Reader{strings.NewReader(c.in), oneByte{strings.NewReader(c.in)}} {
			r := (&join{p: &Profile{TunnelKnobs: TunnelKnobs{WebSocketFrames: "merge", WebSocketFragment: 8}}}).framesOf(source)
			for i, want := range c.want {
				if got, err := readFrame(r); err != nil || got != want {
					t.Errorf("%s: frame %d is %+v (%v), want %+v", c.name, i, got, err, want)
				}
			}
			if _, err := readFrame(r); !errors.Is(err, io.EOF) {
				t.Errorf("%s: behind the last frame %v, want EOF", c.name, err)
			}
		}
	}
}

func TestATunnelsFragmentsAreMerged(t *testing.T) {
	got := make(chan seen, 1)
	target := newStub(t, nil, switching(frame(0x01, "an", nil)+frame(0x80, "swer", nil), func(c *client) {
		f, err := readFrame(c.br)
		if err != nil {
			t.Error(err)
		}
		got <- f
	}))
	cfg := plain(target.addr)
	cfg.Profile = withKnobs(t, func(p *Profile) { p.WebSocketFrames = "merge" })
	c := start(t, cfg, Options{}).dial()
	c.send(upgradeRequest("websocket"))
	c.head()
	key := []byte{1, 2, 3, 4}
	c.send(frame(0x02, "ques", key) + frame(0x80, "tion", key))
	if f := <-got; f != (seen{0x82, "question", string(key)}) {
		t.Errorf("the target got %+v", f)
	}
	if f, err := readFrame(c.br); err != nil || f != (seen{0x81, "answer", ""}) {
		t.Errorf("the client got %+v, %v", f, err)
	}
}

func TestFramesAreRemasked(t *testing.T) {
	key := []byte{1, 2, 3, 4}
	in := frame(0x82, "hello, world", key) + frame(0x82, "from the server", nil)
	r := (&join{p: &Profile{TunnelKnobs: TunnelKnobs{WebSocketFrames: "remask"}}}).framesOf(oneByte{strings.NewReader(in)})
	f, err := readFrame(r)
	if err != nil || f.payload != "hello, world" || f.first != 0x82 || f.key == string(key) || f.key == "" {
		t.Errorf("got %+v, %v", f, err)
	}
	if f, err = readFrame(r); err != nil || f.payload != "from the server" || f.key != "" {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestFrameCutShortIsNoEnd(t *testing.T) {
	whole := frame(0x82, strings.Repeat("x", 200), []byte{1, 2, 3, 4})
	for _, how := range []string{"split", "merge"} {
		for _, cut := range []int{1, 3, 6, 50} {
			r := (&join{p: &Profile{TunnelKnobs: TunnelKnobs{WebSocketFrames: how, WebSocketFragment: 150}}}).framesOf(strings.NewReader(whole[:cut]))
			if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut at %d: %v, want an unexpected end", how, cut, err)
			}
		}
	}
}
