package router

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"
)

// helloBytes is a ClientHello as crypto/tls writes it.
func helloBytes(t testing.TB, name string) []byte {
	t.Helper()
	first := &firstWrite{}
	_ = tls.Client(first, &tls.Config{ServerName: name}).Handshake() // ends with the first write
	return first.bytes
}

type firstWrite struct {
	net.Conn
	bytes []byte
}

func (f *firstWrite) Write(p []byte) (int, error) {
	f.bytes = bytes.Clone(p)
	return 0, io.ErrClosedPipe
}

func (*firstWrite) Close() error { return nil }

// passRoute leads pass.test to a backend. A client that sends helloBytes and a line behind them gets all of it back from an echo.
func passRoute(addr string) Route {
	return Route{Name: "pass", SNI: []string{"pass.test"}, Mode: ModePassthrough, Backend: Backend{Address: addr}}
}

// routed opens a tunnel by passRoute and waits until it echoes.
func routed(addr string, hello []byte) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(3 * patience))
	if err := echoed(conn, hello); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// echoed writes and expects the same back.
func echoed(conn net.Conn, text []byte) error {
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(text)
		wrote <- err
	}()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		_ = conn.SetWriteDeadline(time.Unix(1, 0))
		writing := <-wrote                                  // ended by that deadline, mostly: it must not pass for the read's own
		return fmt.Errorf("%w (writing: %v)", err, writing) //nolint:errorlint // not wrapped, on purpose
	}
	if err := <-wrote; err != nil {
		return err
	}
	if !bytes.Equal(got, text) {
		return errors.New("what came back is not what was sent")
	}
	return nil
}

func pureEcho(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// shortest is the least that one of the logged connections without a route took.
func shortest(t *testing.T, log *logLines) time.Duration {
	t.Helper()
	log.mu.Lock()
	defer log.mu.Unlock()
	least := time.Duration(math.MaxInt64)
	for line := range strings.Lines(log.text.String()) {
		_, text, ok := strings.Cut(line, " dur=")
		if !ok || !strings.Contains(line, `route="" `) {
			continue
		}
		text, _, _ = strings.Cut(text, " ")
		took, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, took)
	}
	return least
}
