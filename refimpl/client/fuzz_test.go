package client

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// answered is a connection to a proxy that says in, and nothing else.
type answered struct {
	net.Conn
	in io.Reader
}

func (a *answered) Read(p []byte) (int, error)  { return a.in.Read(p) }
func (a *answered) Write(p []byte) (int, error) { return len(p), nil }
func (a *answered) SetDeadline(time.Time) error { return nil }

// FuzzRequestTunnel: what an opened tunnel reads is the end of what the proxy sent, and begins behind an empty line.
func FuzzRequestTunnel(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab"))
	f.Add([]byte("HTTP/1.1 407 x\r\nContent-Length: 1\r\n\r\na"))
	f.Fuzz(func(t *testing.T, in []byte) {
		tunnel, err := requestTunnel(context.Background(), &answered{in: bytes.NewReader(in)}, "lb.example.test:443", nil)
		if err != nil {
			return
		}
		rest, err := io.ReadAll(tunnel)
		head, ok := bytes.CutSuffix(in, rest)
		if err != nil || !ok || !bytes.HasSuffix(head, []byte("\n")) {
			t.Fatalf("%q, %v behind %q", rest, err, in)
		}
	})
}
