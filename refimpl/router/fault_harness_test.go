package router

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
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
	_, err := io.ReadFull(conn, got)
	if err == nil && !bytes.Equal(got, text) {
		err = errors.New("what came back is not what was sent")
	}
	if err != nil {
		conn.SetWriteDeadline(time.Unix(1, 0))
	}
	return errors.Join(err, <-wrote)
}

func pureEcho(conn net.Conn) { _, _ = io.Copy(conn, conn) }
