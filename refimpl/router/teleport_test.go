//go:build teleport

package router

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Teleport's published client, in the three modes it has, is a user of ours. It is a module of its own under tools/teleportclient,
// which this test builds (make test-teleport).
func TestTeleportsOwnClientCrossesTheEndpoint(t *testing.T) {
	program := filepath.Join(t.TempDir(), "teleportclient")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "..", "tools", "teleportclient")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, test := range []struct {
		mode, alpn, upgrade string
	}{
		{"websocket", "teleport-postgres", "websocket"},
		{"websocket", "teleport-proxy-ssh", "websocket"},
		{"legacy", "teleport-postgres", "alpn"},
		{"legacy", "teleport-proxy-ssh", "alpn-ping"},
		{"default", "teleport-postgres", "websocket"}, // it offers both
		{"default", "teleport-proxy-ssh", "websocket"},
	} {
		t.Run(fmt.Sprintf("%s %s", test.mode, test.alpn), func(t *testing.T) {
			t.Parallel()
			const name = "echo.routes.example.test"
			route := echoRoute(echoBackend(t, "welcome").addr)
			route.ALPN = []string{test.alpn}
			b := startRouter(t, Config{
				Routes: []Route{route},
				// Not so often that a ping comes together with the 101, which the client would lose.
				Upgrade: Upgrade{PingInterval: Duration(time.Second), PongTimeout: Duration(2 * time.Second)},
			})
			client := exec.CommandContext(t.Context(), program, b.Addr().String(), name, test.alpn, b.ca.caFile(t))
			client.Env = append(os.Environ(), "TELEPORT_TLS_ROUTING_CONN_UPGRADE_MODE="+test.mode)
			var complaint bytes.Buffer
			client.Stderr = &complaint
			in, err := client.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := client.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			br := bufio.NewReader(out)
			line, err := br.ReadString('\n')
			if err != nil || line != "welcome\n" {
				t.Errorf("first line %q, %v", line, err)
			}
			// Longer than the pong timeout: what is tested is that the client answers pings, or need not.
			time.Sleep(5 * time.Second)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
			wrote := make(chan error, 1)
			go func() {
				_, err := in.Write(sent)
				in.Close() // it half-closes: all that it sent must still come back
				wrote <- err
			}()
			got, err := io.ReadAll(br)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes came back, %v", len(got), len(sent), err)
			}
			if err := <-wrote; err != nil {
				t.Errorf("write: %v", err)
			}
			if err := client.Wait(); err != nil {
				t.Errorf("client: %v: %s", err, complaint.Bytes())
			}
			b.log.wait(t, "upgrade="+test.upgrade+" ", "route=echo", "alpn="+test.alpn)
		})
	}
}
