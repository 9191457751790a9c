package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxProxyAnswer bounds the header of the answer to CONNECT.
const maxProxyAnswer = 64 << 10

// requestTunnel asks the HTTP proxy on conn for a tunnel to address (RFC 9110 section 9.3.6). What came behind the answer is kept. On
// an error conn is the caller's to close.
func requestTunnel(ctx context.Context, conn net.Conn, address string, user *url.Userinfo) (tunnel net.Conn, err error) {
	passed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(passed); conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if stop() {
			return
		}
		<-passed // or the deadline would be set behind our back
		conn.SetDeadline(time.Time{})
		tunnel, err = nil, errors.Join(context.Cause(ctx), err)
	}()

	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n", address)
	if user != nil {
		password, _ := user.Password()
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, fmt.Errorf("connect: write request: %w", err)
	}
	br := bufio.NewReader(io.LimitReader(conn, maxProxyAnswer))
	for {
		// A 2xx answer to CONNECT has no body, whatever its fields say; that of another is not read.
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // conn is the body
		switch {
		case err != nil:
			return nil, fmt.Errorf("connect: read answer: %w", err)
		case resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols:
			continue
		case resp.StatusCode/100 != 2:
			return nil, connectStatus(resp.StatusCode)
		}
		ahead, _ := br.Peek(br.Buffered())
		if len(ahead) == 0 {
			return conn, nil
		}
		return &aheadConn{conn, bytes.NewReader(ahead)}, nil
	}
}

// connectStatus is a refusal.
type connectStatus int

func (s connectStatus) Error() string {
	return fmt.Sprintf("connect: status %d %s", int(s), http.StatusText(int(s)))
}

// aheadConn is a connection of which a part was read ahead. A TLS session or an upgrade lies above it, so it has one reader at a time.
type aheadConn struct {
	net.Conn
	ahead *bytes.Reader
}

func (c *aheadConn) Read(p []byte) (int, error) {
	if c.ahead.Len() > 0 {
		return c.ahead.Read(p)
	}
	return c.Conn.Read(p)
}

func (c *aheadConn) Unwrap() net.Conn { return c.Conn }
