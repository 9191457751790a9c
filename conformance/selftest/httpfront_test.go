package selftest

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/strength"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// front is a proxy before the upgrade endpoint of the reference router that spoils the HTTP exchange: one request a connection,
// then bytes both ways.
type front struct {
	// request rewrites the header of the request; a reply, when not empty, is sent in the router's place.
	request func(head string) (rewritten, reply string)
	// response rewrites the header of the answer.
	response func(request, head string) string
	// dropBehind throws away what came in the same read as the end of the request's header.
	dropBehind bool
}

// spoiled starts the reference router with the front before its plaintext endpoint.
func spoiled(f front) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := plainUpgrade(newLab(t).start(t, nil))
		target.Paths[0].Address = serve(t, target.Paths[0].Address, func(c net.Conn, dial func() net.Conn) { f.carry(c, dial()) })
		return target
	}
}

// serve accepts on loopback and hands each connection to handle, with a dialler for address that returns nil when that does
// not work. The connection is closed when handle returns, and all that are left by the test's cleanup.
func serve(t *testing.T, address string, handle func(c net.Conn, dial func() net.Conn)) string {
	t.Helper()
	p := must(strength.Listen(func() (net.Conn, error) { return net.Dial("tcp", address) }, handle))(t)
	t.Cleanup(p.Close)
	return p.Address()
}

func (f front) carry(c, b net.Conn) {
	if b == nil {
		return
	}
	defer b.Close()
	head, behind, ok := header(c)
	if !ok {
		return
	}
	rewritten, reply := head, ""
	if f.request != nil {
		rewritten, reply = f.request(head)
	}
	if reply != "" {
		_, _ = io.WriteString(c, reply)
		_ = netx.CloseWrite(c)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a reset would overtake the answer
		_, _ = io.Copy(io.Discard, c)
		return
	}
	if f.dropBehind {
		behind = nil
	}
	if _, err := b.Write(append([]byte(rewritten), behind...)); err != nil {
		return
	}
	answer, rest, ok := header(b)
	if !ok {
		return
	}
	if f.response != nil {
		answer = f.response(rewritten, answer)
	}
	if _, err := c.Write(append([]byte(answer), rest...)); err != nil {
		return
	}
	both(c, b)
}

// both copies both ways, half-closing each.
func both(c, b net.Conn) {
	done := make(chan struct{})
	go func() { defer close(done); copyWith(nil, c, b) }()
	copyWith(nil, b, c)
	<-done
}

// header reads up to the empty line; behind is what came with it.
func header(c net.Conn) (head string, behind []byte, ok bool) {
	head, behind, err := wire.ReadHead(c)
	return head, behind, err == nil
}

func field(head, name string) string   { return wire.Field(head, name) }
func without(head, name string) string { return wire.Without(head, name) }
func with(head, line string) string    { return wire.With(head, line) }

// refusal and agreement are answers in the router's place.
const refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

func agreement(token string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + token + "\r\nConnection: Upgrade\r\n\r\n"
}
