package upgrade

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
)

func init() { register(10, webSocketType{}) }

// webSocketType is RFC 6455 with binary frames. Its subprotocol says only what the stream is; alpn-ping asks for pings, but a
// server that pings does it for either.
type webSocketType struct{}

const (
	keyField      = "Sec-Websocket-Key"
	acceptField   = "Sec-Websocket-Accept"
	versionField  = "Sec-Websocket-Version"
	protocolField = "Sec-Websocket-Protocol"
	extendField   = "Sec-Websocket-Extensions"
)

var subprotocols = []string{"alpn-ping", "alpn"}

func (webSocketType) Name() string          { return "websocket" }
func (webSocketType) NeedsConnection() bool { return true }

func (webSocketType) Answer(req *http.Request) (http.Header, *RefusedError) {
	if v := req.Header[versionField]; len(v) != 1 || strings.TrimSpace(v[0]) != "13" {
		return nil, &RefusedError{
			Status: http.StatusUpgradeRequired, Reason: "websocket needs Sec-WebSocket-Version: 13",
			fields: http.Header{"Sec-WebSocket-Version": {"13"}},
		}
	}
	keys := req.Header[keyField]
	if len(keys) != 1 {
		return nil, &RefusedError{Status: http.StatusBadRequest, Reason: "websocket needs one Sec-WebSocket-Key"}
	}
	key := strings.TrimSpace(keys[0])
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 {
		return nil, &RefusedError{Status: http.StatusBadRequest, Reason: "Sec-WebSocket-Key is not 16 bytes in base64"}
	}
	answer := http.Header{"Sec-WebSocket-Accept": {acceptKey(key)}}
	// One subprotocol is confirmed. A request that names none we know is served all the same, with nothing confirmed: its bytes
	// are the same.
	for _, p := range subprotocols {
		if hasExact(req.Header[protocolField], p) {
			answer["Sec-WebSocket-Protocol"] = []string{p}
			break
		}
	}
	return answer, nil
}

func (webSocketType) Offer(opt ClientOptions) (http.Header, func(http.Header) error) {
	var raw [16]byte
	rand.Read(raw[:])
	key := base64.StdEncoding.EncodeToString(raw[:])
	protocol := "alpn"
	if opt.Ping {
		protocol = "alpn-ping"
	}
	fields := http.Header{"Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {key}, "Sec-WebSocket-Protocol": {protocol}}
	return fields, func(answer http.Header) error {
		if !hasToken(answer["Connection"], "upgrade") {
			return fmt.Errorf("the 101 has no Connection: upgrade")
		}
		if got := answer[acceptField]; len(got) != 1 || strings.TrimSpace(got[0]) != acceptKey(key) {
			return fmt.Errorf("wrong Sec-WebSocket-Accept %q", got)
		}
		if got := answer[protocolField]; len(got) > 0 && !slices.Equal(got, []string{protocol}) {
			return fmt.Errorf("subprotocol %q was not offered", got)
		}
		if got := answer[extendField]; len(got) > 0 {
			return fmt.Errorf("extension %q was not offered", got)
		}
		return nil
	}
}

func (webSocketType) Server(conn net.Conn, first []byte, opt ServerOptions) net.Conn {
	c := newWSConn(conn, first, opt.MaxFrame, false)
	c.out.keepAlive(opt.PingInterval, opt.PongTimeout, c.frame(nil, opPing, []byte("tlsroute")))
	return c
}

func (webSocketType) Client(conn net.Conn, first []byte, opt ClientOptions) net.Conn {
	c := newWSConn(conn, first, opt.MaxFrame, true)
	c.attendLater()
	return c
}

// acceptKey is RFC 6455 section 4.2.2, step 5.4.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
