package selftest

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
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
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards conns and over
	var conns []net.Conn
	over := false
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
		if over {
			_ = c.Close()
		}
	}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			keep(c)
			wg.Go(func() {
				defer c.Close()
				handle(c, func() net.Conn {
					b, err := net.Dial("tcp", address)
					if err != nil {
						return nil
					}
					keep(b)
					return b
				})
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		over = true
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
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
	var buf []byte
	chunk := make([]byte, 64<<10)
	for len(buf) < wire.MaxHeader {
		n, err := c.Read(chunk)
		buf = append(buf, chunk[:n]...)
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			return string(buf[:end+4]), buf[end+4:], true
		}
		if err != nil {
			return "", nil, false
		}
	}
	return "", nil, false
}

// field is the value of the first line of a field as it was sent, "" when there is none.
func field(head, name string) string {
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// without removes the lines of a field.
func without(head, name string) string {
	lines := strings.Split(head, "\r\n")
	out := lines[:1:1]
	for _, line := range lines[1:] {
		if n, _, ok := strings.Cut(line, ":"); !ok || !strings.EqualFold(n, name) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\r\n")
}

// with adds a line.
func with(head, line string) string {
	first, rest, _ := strings.Cut(head, "\r\n")
	return first + "\r\n" + line + "\r\n" + rest
}

// refusal and agreement are answers in the router's place.
const refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

func agreement(token string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + token + "\r\nConnection: Upgrade\r\n\r\n"
}
