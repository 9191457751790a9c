package albsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestALB_UPG_12_SettingsOf128StreamsAndNoExtendedConnect(t *testing.T) {
	m := start(t, secure(t, "127.0.0.1:1"), Options{})
	c, _ := m.dialTLS(&tls.Config{NextProtos: []string{"h2"}})
	c.send(http2.ClientPreface)
	framer := http2.NewFramer(c, c.br)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, isSettings := frame.(*http2.SettingsFrame)
	if !isSettings {
		t.Fatalf("first frame %v", frame)
	}
	for id, want := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: 128, http2.SettingMaxFrameSize: 1<<24 - 1} {
		if got, _ := settings.Value(id); got != want {
			t.Errorf("%v is %d, want %d", id, got, want)
		}
	}
	if got, there := settings.Value(http2.SettingEnableConnectProtocol); there && got != 0 {
		t.Error("extended CONNECT is offered")
	}
}

func TestALB_KA_02_H2ConnectionsEndAtTheirLimits(t *testing.T) {
	get := []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/"}
	for _, c := range []struct {
		name     string
		requests uint32 // the knob
		wait     time.Duration
	}{
		{"requests", 3, 0},
		{"keep-alive", 10000, 700 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := secure(t, newStub(t, nil, ok).addr)
			cfg.Profile = withKnobs(t, func(p *Profile) { p.H2Requests = c.requests })
			cfg.Attributes["client_keep_alive.seconds"] = 60
			cfg.Attributes["idle_timeout.timeout_seconds"] = 4000
			scale := 1.0
			if c.wait > 0 {
				scale = 0.01 // 600 ms, well before the idle timeout
			}
			h := start(t, cfg, Options{TimeScale: scale}).dialH2()
			for range c.requests - 1 {
				if status := h.status(h.open(true, get...)); status != 200 {
					t.Fatalf("before the limit: status %d", status)
				}
				if c.wait > 0 {
					<-time.After(c.wait)
					break
				}
			}
			last := h.open(true, get...)
			answered, goAway := false, false
			for {
				frame, err := h.framer.ReadFrame()
				if err != nil {
					if !answered || !goAway || !errors.Is(err, io.EOF) {
						t.Errorf("answered %v, GOAWAY %v, then %v; want both and EOF", answered, goAway, err)
					}
					return
				}
				switch f := frame.(type) {
				case *http2.GoAwayFrame:
					goAway = true
				case *http2.MetaHeadersFrame:
					answered = answered || f.StreamID == last && f.PseudoValue("status") == "200"
				}
			}
		})
	}
}

func TestALB_IDLE_04_PingDoesNotReset(t *testing.T) {
	cfg := secure(t, "127.0.0.1:1")
	cfg.Attributes["idle_timeout.timeout_seconds"] = 3
	m := start(t, cfg, tenth)
	c, _ := m.dialTLS(&tls.Config{NextProtos: []string{"h2"}})
	c.send(http2.ClientPreface)
	framer := http2.NewFramer(c, c.br)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	ping := func() {
		if err := framer.WritePing(false, [8]byte{}); err != nil {
			t.Logf("PING: %v", err) // the connection may be over: the reader tells
		}
	}
	begun := time.Now()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY after %v: %v", time.Since(begun), err)
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			if took := time.Since(begun); took > time.Second {
				t.Errorf("GOAWAY after %v, want 300ms", took)
			}
			return
		case *http2.SettingsFrame:
			ping()
		case *http2.PingFrame:
			if f.IsAck() { // keep them coming for longer than the timeout
				<-time.After(50 * time.Millisecond)
				ping()
			}
		}
	}
}

func TestH2AnswersOfTheBalancerAndBrokenBodies(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		c.Close()
	})
	cfg := secure(t, target.addr)
	cfg.TargetGroups = append(cfg.TargetGroups, TargetGroup{Name: "none", Protocol: "HTTP"})
	cfg.Listeners[0].Rules = []Rule{{
		Priority: 1, Conditions: []Condition{{Field: "path-pattern", Values: []string{"/none"}}},
		Actions: []Action{{Type: "forward", TargetGroup: "none"}},
	}}
	m := start(t, cfg, Options{})
	tr := h2Transport(t)
	get := func(path string) (status int, server string, body []byte, err error) {
		t.Helper()
		req, err := http.NewRequest("GET", "https://"+m.addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Server"), b, err
	}
	if status, server, b, err := get("/none"); status != 503 || len(b) != 162 || err != nil || server != "awselb/2.0" {
		t.Errorf("status %d from %s, %d bytes, %v", status, server, len(b), err)
	}
	if status, _, b, err := get("/"); status != 200 || err == nil {
		t.Errorf("a short body is passed off as whole: status %d, %q", status, b)
	}
}

func TestH2BodiesBeyondEveryWindow(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("target: %v", err)
		}
		if _, err := w.Write(b); err != nil {
			t.Errorf("target: %v", err)
		}
	}))
	defer target.Close()
	m := start(t, secure(t, strings.TrimPrefix(target.URL, "http://")), Options{})
	tr := h2Transport(t)
	sent := make([]byte, 12<<20)                  // the connection's window is 8 MiB, a stream's 64 KiB
	_, _ = rand.NewChaCha8([32]byte{}).Read(sent) // never fails
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			req, err := http.NewRequest("POST", "https://"+m.addr+"/", bytes.NewReader(sent))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}
