package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// httpTopology is every way to one server, which speaks both versions behind the router's TLS.
const httpTopology = `
name: http
topology:
  paths: [direct, alb-https, alb-http, nlb-tcp]
  load_balancers:
    alb: {}
    nlb: {protocol: TCP}
backends: [{name: http, kind: http}]
routes: [{name: http, sni: [http.example.test], alpn: [h2, http/1.1], mode: terminate, backend: http}]
`

const (
	// bodyVariable is how many bytes a body has over alb-https, each way; bodySize over all paths where it is not set. A GiB takes longer under the
	// race detector than a test may, so make test-gib does that without it.
	bodyVariable = "TLSROUTE_TEST_BODY"
	bodySize     = 16 << 20
)

// versions are the two of HTTP by their ALPN, as a server names them.
var versions = map[string]string{"http/1.1": "HTTP/1.1", "h2": "HTTP/2.0"}

// httpLab is that topology.
type httpLab struct{ *Lab }

// TestHTTPOverEveryPath holds HTTP to what it is without anything in between: one topology, every path, every case.
func TestHTTPOverEveryPath(t *testing.T) {
	l := httpLab{startText(t, httpTopology, Options{Backends: os.Getenv(driverVariable)})}
	t.Run("paths", func(t *testing.T) { // returns when those that run side by side have
		for _, path := range []string{scenario.PathDirect, scenario.PathALBHTTPS, scenario.PathALBHTTP, scenario.PathNLBTCP} {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				for alpn, version := range versions {
					t.Run(alpn, func(t *testing.T) {
						c := l.client(t, path, alpn)
						httpSeen(t, c, version)
						httpEvents(t, c, path+"/"+alpn)
						httpBodies(t, c, path, alpn)
					})
				}
				t.Run("websocket", func(t *testing.T) { httpWebSocket(t, l.client(t, path, "http/1.1")) })
			})
		}
	})
}

// client speaks one version, over connections that a dialer makes: TLS is inside.
func (l httpLab) client(t *testing.T, path, alpn string) *http.Client {
	t.Helper()
	d, err := l.Dialer(path, "http")
	if err != nil {
		t.Fatal(err)
	}
	d.ALPN = []string{alpn}
	transport := &http.Transport{DialContext: d.DialContext, Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetHTTP1(alpn != "h2")
	transport.Protocols.SetUnencryptedHTTP2(alpn == "h2")
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// request is one whose answer ends with the test.
func request(t *testing.T, c *http.Client, method, path string, body io.Reader) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // a GiB, on a busy machine
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://http.example.test"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return resp
}

func httpSeen(t *testing.T, c *http.Client, version string) {
	t.Helper()
	var seen backend.Seen
	if err := json.NewDecoder(request(t, c, http.MethodGet, "/a%2Fb//c?d;e", nil).Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if seen.Backend != "http" || seen.Proto != version || seen.Path != "/a%2Fb//c?d;e" || seen.Host != "http.example.test" {
		t.Errorf("the service saw %+v", seen)
	}
}

// httpEvents asks for each event when the one before it has arrived: whoever keeps one back to fill a buffer keeps it for ever.
func httpEvents(t *testing.T, c *http.Client, pace string) {
	t.Helper()
	const n = 5
	stream := bufio.NewReader(request(t, c, http.MethodGet, fmt.Sprintf("/events?n=%d&pace=%s", n, pace), nil).Body)
	for i := 1; i <= n; i++ {
		request(t, c, http.MethodPost, "/events?pace="+pace, nil)
		var event string
		for !strings.HasSuffix(event, "\n\n") {
			line, err := stream.ReadString('\n')
			if err != nil {
				t.Fatalf("event %d: %v after %q", i, err, event+line)
			}
			event += line
		}
		if want := fmt.Sprintf("id: %d\ndata: event %d of %d\n\n", i, i, n); event != want {
			t.Fatalf("event %d is %q, want %q", i, event, want)
		}
	}
	if rest, err := io.ReadAll(stream); err != nil || len(rest) > 0 {
		t.Errorf("behind the last event: %q, %v", rest, err)
	}
}

// httpBodies takes a large body each way, and compares its hash with what the service says.
func httpBodies(t *testing.T, c *http.Client, path, alpn string) {
	t.Helper()
	size := int64(bodySize)
	switch wanted := os.Getenv(bodyVariable); {
	case wanted != "" && path == scenario.PathALBHTTPS:
		n, err := strconv.ParseInt(wanted, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", bodyVariable, err)
		}
		size = n
	case alpn == "h2":
		size /= 8 // the tunnel is the same: of h2 it is the flow control that is of interest
	}
	start, got := time.Now(), sha256.New()
	resp := request(t, c, http.MethodGet, fmt.Sprintf("/bytes/%d?seed=4", size), nil)
	n, err := io.Copy(got, resp.Body)
	if digest := "sha-256=:" + base64.StdEncoding.EncodeToString(got.Sum(nil)) + ":"; err != nil || n != size || resp.Trailer.Get("Repr-Digest") != digest {
		t.Errorf("down: %d bytes of %d, %s, %v; the service says %q", n, size, digest, err, resp.Trailer.Get("Repr-Digest"))
	}
	t.Logf("down: %d MiB in %v", size>>20, time.Since(start).Round(time.Millisecond))
	start = time.Now()
	sent := sha256.New()
	resp = request(t, c, http.MethodPost, "/sum", io.TeeReader(io.LimitReader(backend.SeededBytes(5), size), sent))
	var sum backend.HTTPSum
	if err := json.NewDecoder(resp.Body).Decode(&sum); err != nil || sum.Bytes != size || sum.SHA256 != hex.EncodeToString(sent.Sum(nil)) {
		t.Errorf("up: %+v, %v; %d bytes of hash %x were sent", sum, err, size, sent.Sum(nil))
	}
	t.Logf("up: %d MiB in %v", size>>20, time.Since(start).Round(time.Millisecond))
}

// httpWebSocket upgrades inside the tunnel: messages of any size come back as what they were, and the end is a close with its code.
func httpWebSocket(t *testing.T, c *http.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://http.example.test/ws", &websocket.DialOptions{HTTPClient: c})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(1 << 24)
	large := make([]byte, 1<<20)
	if _, err := io.ReadFull(backend.SeededBytes(6), large); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		kind websocket.MessageType
		data []byte
	}{{websocket.MessageText, []byte("hello")}, {websocket.MessageBinary, nil}, {websocket.MessageBinary, large}} {
		if err := ws.Write(ctx, m.kind, m.data); err != nil {
			t.Fatal(err)
		}
		if kind, data, err := ws.Read(ctx); err != nil || kind != m.kind || !bytes.Equal(data, m.data) {
			t.Fatalf("%v of %d bytes came back as %v of %d: %v", m.kind, len(m.data), kind, len(data), err)
		}
	}
	if err := ws.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("close: %v", err)
	}
}
