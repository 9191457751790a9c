package wire

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 asks for it
	"encoding/base64"
	"fmt"
	"net"
	"strings"
)

// The upgrade types.
const (
	WebSocket = "websocket"
	ALPN      = "alpn"
	ALPNPing  = "alpn-ping"
)

// Upgrade is one upgrade request. The zero values of the optional fields ask for a good one.
type Upgrade struct {
	// Type is websocket, alpn or alpn-ping.
	Type, Host, Path string
	// Replace, when set, are all field lines but Host.
	Replace []string
	// Behind are tunnel bytes that go out in the same write as the request, framed as the type wants it.
	Behind []byte
}

// StatusError says that the answer was not 101.
type StatusError struct{ Response *Response }

func (e *StatusError) Error() string {
	return fmt.Sprintf("upgrading: status %d %s", e.Response.Status, e.Response.Reason)
}

// Key is the Sec-WebSocket-Key that requests carry: fixed, so that traces can be compared.
const Key = "dGxzcm91dGUtYmVuY2ghIQ=="

// AcceptFor is the Sec-WebSocket-Accept that belongs to a key (RFC 6455 section 4.2.2).
func AcceptFor(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Request is the request as it goes over the wire, with Behind at its end.
func (u Upgrade) Request() []byte {
	lines := u.Replace
	if lines == nil {
		lines = []string{"Connection: Upgrade", "Upgrade: " + u.Type}
		if u.Type == WebSocket {
			lines = append(lines, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+Key, "Sec-WebSocket-Protocol: "+ALPN)
		}
	}
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", u.Path, u.Host, strings.Join(lines, "\r\n"))
	out := []byte(head)
	if len(u.Behind) > 0 {
		out = append(out, frame(u.Type, u.Behind)...)
	}
	return out
}

// Do sends the request on conn and returns the tunnel. Bytes behind the 101 are the tunnel's first. An answer other than 101
// is a *StatusError; the connection returned with it begins at the body. Deadlines are the caller's.
func (u Upgrade) Do(conn net.Conn) (net.Conn, *Response, error) {
	if _, err := conn.Write(u.Request()); err != nil {
		return nil, nil, fmt.Errorf("upgrading: writing the request: %w", err)
	}
	resp, rest, err := ReadResponse(conn)
	if err != nil {
		return nil, resp, fmt.Errorf("upgrading: %w", err)
	}
	if resp.Status != 101 {
		return rest, resp, &StatusError{resp}
	}
	if token := resp.Header.Get("Upgrade"); !strings.EqualFold(token, u.Type) {
		return nil, resp, fmt.Errorf("upgrading: asked for %s, got 101 with Upgrade: %q", u.Type, token)
	}
	if u.Type == WebSocket && u.Replace == nil {
		if got := resp.Header.Get("Sec-Websocket-Accept"); got != AcceptFor(Key) {
			return nil, resp, fmt.Errorf("upgrading: Sec-WebSocket-Accept is %q, not %q", got, AcceptFor(Key))
		}
	}
	tunnel, err := NewTunnel(u.Type, rest)
	return tunnel, resp, err
}

// NewTunnel is the client's end of a tunnel of that type on a connection that has been upgraded.
func NewTunnel(typ string, conn net.Conn) (net.Conn, error) {
	switch typ {
	case WebSocket:
		return newWSConn(conn), nil
	case ALPNPing:
		return newPingConn(conn), nil
	case ALPN:
		return conn, nil
	}
	return nil, fmt.Errorf("upgrading: no such type %q", typ)
}

// frame is payload as one frame of the type.
func frame(typ string, payload []byte) []byte {
	switch typ {
	case WebSocket:
		return wsFrame(payload)
	case ALPNPing:
		return Vec(4, payload)
	}
	return payload
}
