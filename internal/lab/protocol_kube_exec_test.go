package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/moby/spdystream"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// The protocols of exec.
const (
	execV4 = "v4.channel.k8s.io"
	execV5 = "v5.channel.k8s.io"
)

// kubeUpgrade is a way to run a command.
type kubeUpgrade struct{ upgrade, protocol string }

func (u kubeUpgrade) String() string { return u.upgrade + "/" + u.protocol }

// ran is what came of a command.
type ran struct {
	stdout, stderr string
	status         backend.KubeStatus
}

// exec runs a command in a pod with stdin, or without one when it is nil.
func (k *kubePort) exec(t *testing.T, over kubeUpgrade, pod string, stdin []byte, command ...string) ran {
	t.Helper()
	query := url.Values{"command": command, "stdout": {"true"}, "stderr": {"true"}, "stdin": {strconv.FormatBool(stdin != nil)}}
	target := "/api/v1/namespaces/" + k.namespace + "/pods/" + pod + "/exec?" + query.Encode()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var got ran
	var err error
	if over.upgrade == "spdy" {
		got, err = execSPDY(ctx, k.addr, target, stdin)
	} else {
		got, err = execWebSocket(ctx, k.addr, target, over.protocol, stdin)
	}
	if err != nil {
		t.Fatalf("exec %q: %v", command, err)
	}
	return got
}

// execWebSocket is a client whose messages begin with the number of a channel (0 stdin, 1 stdout, 2 stderr, 3 the status; 255 ends one).
func execWebSocket(ctx context.Context, addr, target, protocol string, stdin []byte) (got ran, err error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, resp, err := websocket.Dial(ctx, "ws://"+addr+target, &websocket.DialOptions{Subprotocols: []string{protocol}, HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return got, fmt.Errorf("%w (%v)", err, resp)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(1 << 24)
	if c.Subprotocol() != protocol {
		return got, fmt.Errorf("the server speaks %q", c.Subprotocol())
	}
	sent := make(chan error, 1)
	go func() { // while the answers are read, or both sides wait
		for rest := stdin; len(rest) > 0; {
			n := min(len(rest), 32<<10)
			if err := c.Write(ctx, websocket.MessageBinary, append([]byte{0}, rest[:n]...)); err != nil {
				sent <- err
				return
			}
			rest = rest[n:]
		}
		if stdin != nil {
			sent <- c.Write(ctx, websocket.MessageBinary, []byte{255, 0})
			return
		}
		sent <- nil
	}()
	var channels [4]bytes.Buffer
	for {
		_, message, err := c.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			break
		}
		if err != nil {
			return got, errors.Join(err, c.CloseNow(), <-sent)
		}
		if len(message) == 0 || message[0] == 0 || int(message[0]) >= len(channels) {
			return got, fmt.Errorf("a message begins %x", message[:min(len(message), 4)])
		}
		channels[message[0]].Write(message[1:])
	}
	got.stdout, got.stderr = channels[1].String(), channels[2].String()
	return got, errors.Join(<-sent, json.Unmarshal(channels[3].Bytes(), &got.status))
}

// execSPDY is a client with a stream for each channel. spdystream takes the end of the connection for that of a stream: only the status
// says that the output is whole.
func execSPDY(ctx context.Context, addr, target string, stdin []byte) (got ran, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return got, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\nContent-Length: 0\r\n\r\n", target, addr, execV4)
	ahead := bufio.NewReader(conn)
	resp, err := http.ReadResponse(ahead, nil)
	if err != nil {
		return got, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Stream-Protocol-Version") != execV4 || ahead.Buffered() > 0 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return got, fmt.Errorf("%s, %v, %s; %d bytes too many", resp.Status, resp.Header, text, ahead.Buffered())
	}
	session, err := spdystream.NewConnection(conn, false)
	if err != nil {
		return got, err
	}
	served := make(chan struct{})
	go func() { defer close(served); session.Serve(spdystream.NoOpStreamHandler) }()
	defer func() {
		_ = session.Close()
		conn.Close()
		<-served
		_ = session.Wait(0)
	}()
	streams := map[string]*spdystream.Stream{}
	for _, name := range []string{"error", "stdin", "stdout", "stderr"} {
		if name == "stdin" && stdin == nil {
			continue
		}
		s, err := session.CreateStream(http.Header{"streamType": {name}}, nil, false)
		if err != nil {
			return got, err
		}
		if err := s.Wait(); err != nil {
			return got, fmt.Errorf("stream %s: %w", name, err)
		}
		streams[name] = s
	}
	sent := make(chan error, 1)
	go func() {
		if stdin == nil {
			sent <- nil
			return
		}
		_, err := io.Copy(streams["stdin"], struct{ io.Reader }{bytes.NewReader(stdin)}) // in pieces
		sent <- errors.Join(err, streams["stdin"].Close())
	}()
	diag := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(streams["stderr"]) // it knows no error but the end
		diag <- string(text)
	}()
	out, err1 := io.ReadAll(streams["stdout"])
	text, err2 := io.ReadAll(streams["error"])
	got.stdout, got.stderr = string(out), <-diag
	return got, errors.Join(err1, err2, <-sent, json.Unmarshal(text, &got.status))
}
