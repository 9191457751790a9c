package wire

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// h2Conn is a connection to a server that speaks the protocols.
func h2Conn(t *testing.T, offer string, handler http.HandlerFunc) *tls.Conn {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{offer}}) //nolint:gosec // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestH2AsksAndReadsTheAnswersHead(t *testing.T) {
	h, err := NewH2(h2Conn(t, "h2", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Sent"))
		fmt.Fprint(w, "body")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Settings) == 0 {
		t.Error("the server's settings are not kept")
	}
	for _, body := range [][]byte{nil, []byte("sent")} {
		method := map[bool]string{true: "GET", false: "POST"}[body == nil]
		stream, err := h.Ask(body, ":method", method, ":scheme", "https", ":authority", "a", ":path", "/p", "x-sent", "1")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Response(stream)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Status != "200" || resp.Field("x-saw") != method+" /p 1" || resp.Ended || resp.Field("x-none") != "" {
			t.Errorf("%s: %+v", method, resp)
		}
	}
}

func TestH2WithAServerThatDoesNotSpeakIt(t *testing.T) {
	if _, err := NewH2(h2Conn(t, "http/1.1", func(http.ResponseWriter, *http.Request) {})); err == nil || !strings.HasPrefix(err.Error(), "http/2: ") {
		t.Errorf("got %v", err)
	}
}
