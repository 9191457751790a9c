//nolint:bodyclose // ask closes them
package backend

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// ask sends one request to r; the body of its answer is closed with the test.
func ask(t *testing.T, r *Running, method, path string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.Address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestHTTPBytesAndSums(t *testing.T) {
	r := start(t, Embedded, HTTP)
	resp := ask(t, r, http.MethodGet, "/bytes/100001?seed=7", nil)
	got, err := io.ReadAll(resp.Body)
	sum := sha256.Sum256(got)
	if err != nil || len(got) != 100001 || resp.Trailer.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		t.Errorf("%d bytes, %v, trailer %v", len(got), err, resp.Trailer)
	}
	want := make([]byte, len(got))
	if _, err := io.ReadFull(SeededBytes(7), want); err != nil || !bytes.Equal(got, want) {
		t.Errorf("these are not the bytes of the seed, %v", err)
	}
	if resp := ask(t, r, http.MethodGet, "/bytes/many", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("/bytes/many: %s", resp.Status)
	}

	file := make([]byte, 3*maxBody)
	rand.Read(file)
	sum = sha256.Sum256(file)
	var answer HTTPSum
	resp = ask(t, r, http.MethodPost, "/sum", bytes.NewReader(file))
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Bytes != int64(len(file)) || answer.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v, %v", answer, err)
	}
	var seen Seen
	if err := json.NewDecoder(ask(t, r, http.MethodGet, "//a/../sum", nil).Body).Decode(&seen); err != nil || seen.Path != "//a/../sum" {
		t.Errorf("a path that is not clean: %+v, %v", seen, err)
	}
}

// TestHTTPEventsKeepPace: no event before it was asked for, and the stream ends with the last.
func TestHTTPEventsKeepPace(t *testing.T) {
	r := start(t, Embedded, HTTP)
	if resp := ask(t, r, http.MethodPost, "/events?pace=p", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a pace that no stream has: %s", resp.Status)
	}
	resp := ask(t, r, http.MethodGet, "/events?n=2&pace=p", nil)
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v", resp.Header)
	}
	if resp := ask(t, r, http.MethodGet, "/events?n=2&pace=p", nil); resp.StatusCode != http.StatusConflict {
		t.Errorf("a second stream of the same pace: %s", resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	for _, want := range []string{"id: 1\n", "id: 2\n"} {
		if resp := ask(t, r, http.MethodPost, "/events?pace=p", nil); resp.StatusCode != http.StatusNoContent {
			t.Fatalf("next: %s", resp.Status)
		}
		line, err := lines.ReadString('\n')
		for range 2 {
			_, _ = lines.ReadString('\n') // data, and the empty line
		}
		if err != nil || line != want {
			t.Fatalf("%q, %v, want %q", line, err, want)
		}
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("behind the last: %q, %v", rest, err)
	}
	all, err := io.ReadAll(ask(t, r, http.MethodGet, "/events?n=3&every=1ms", nil).Body)
	if err != nil || strings.Count(string(all), "data: event ") != 3 {
		t.Errorf("three by the clock: %q, %v", all, err)
	}
}

// TestHTTPWebSocketEndsWithTheBackend: net/http has let go of it by then.
func TestHTTPWebSocketEndsWithTheBackend(t *testing.T) {
	r := start(t, Embedded, HTTP)
	c, _, err := websocket.Dial(t.Context(), "ws://"+r.Address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		if err := c.Write(t.Context(), kind, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got, message, err := c.Read(t.Context()); err != nil || got != kind || string(message) != "hello" {
			t.Fatalf("%v %q, %v", got, message, err)
		}
	}
	closeBackend(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), askTimeout)
	defer cancel()
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the connection goes on: %v", err)
	}
}
