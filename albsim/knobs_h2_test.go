package albsim

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// resetBy waits for the stream's RST_STREAM; a head in its place fails the test.
func (h *h2conn) resetBy(id uint32) http2.ErrCode {
	h.t.Helper()
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			h.t.Fatalf("stream %d: %v", id, err)
		}
		if f, is := frame.(*http2.RSTStreamFrame); is && f.StreamID == id {
			return f.ErrCode
		}
		if f, is := frame.(*http2.MetaHeadersFrame); is && f.StreamID == id {
			h.t.Fatalf("stream %d is answered with %v", id, f.Fields)
		}
	}
}

func TestFieldsThatH2ForbidsAreRefusedStrippedOrReset(t *testing.T) {
	get := []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/up"}
	for _, sent := range [][]string{
		{"connection", "Upgrade", "upgrade", "websocket", "x-kept", "1"},
		{"te", "gzip", "x-kept", "1"},
	} {
		for _, how := range []string{"400", "strip", "reset"} {
			t.Run(sent[0]+" "+how, func(t *testing.T) {
				target := newStub(t, nil, ok)
				cfg := secure(t, target.addr)
				cfg.Profile = withKnobs(t, func(p *Profile) { p.H2ForbiddenFields = how })
				m := start(t, cfg, Options{})
				h := m.dialH2()
				id := h.open(true, append(get, sent...)...)
				switch how {
				case "400":
					if got := h.status(id); got != 400 {
						t.Errorf("status %d", got)
					}
				case "strip":
					if got := h.status(id); got != 200 {
						t.Errorf("status %d", got)
					}
					head := strings.ToLower(target.head(t))
					if !strings.Contains(head, "\r\nx-kept: 1\r\n") || strings.Contains(head, "upgrade") || strings.Contains(head, "\r\nte:") {
						t.Errorf("target got %q", head)
					}
				case "reset":
					if got := h.resetBy(id); got != http2.ErrCodeProtocol {
						t.Errorf("reset with %v", got)
					}
				}
				line := m.logLines(1)[0]
				if want := map[string]string{"400": "400", "strip": "200", "reset": "400"}[how]; line[0] != "h2" || line[8] != want ||
					!strings.Contains(strings.Join(line, " "), `/up HTTP/2.0"`) {
					t.Errorf("log %q, want status %s", line, want)
				}
				if got := h.status(h.open(true, get...)); got != 200 { // the connection goes on
					t.Errorf("the next request: status %d", got)
				}
			})
		}
	}
}
