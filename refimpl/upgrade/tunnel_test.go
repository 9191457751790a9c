package upgrade

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestTunnelCarriesAnyChunkingBothWays(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			// Pings as often as they come, to show that they never land inside a frame or in the stream.
			client, server := tunnelPair(t, typ, ServerOptions{PingInterval: time.Millisecond})
			const size = 2 << 20
			type result struct {
				sum [32]byte
				err error
			}
			send := func(c net.Conn, seed uint64) result {
				rnd := mrand.New(mrand.NewPCG(seed, 1))
				h, left := sha256.New(), size
				for left > 0 {
					n := min(left, []int{0, 1, 125, 126, 127, 4096, 65535, 65536, 300 << 10}[rnd.IntN(9)])
					p := make([]byte, n)
					for i := range p {
						p[i] = byte(rnd.Uint32())
					}
					h.Write(p)
					if m, err := c.Write(p); err != nil || m != n {
						return result{err: errors.Join(err, io.ErrShortWrite)}
					}
					left -= n
				}
				return result{sum: [32]byte(h.Sum(nil))}
			}
			receive := func(c net.Conn, seed uint64) result {
				rnd := mrand.New(mrand.NewPCG(seed, 2))
				h := sha256.New()
				for got := 0; got < size; {
					p := make([]byte, min(size-got, 1+rnd.IntN(50_000)))
					n, err := c.Read(p)
					h.Write(p[:n])
					if got += n; err != nil {
						return result{err: err}
					}
				}
				return result{sum: [32]byte(h.Sum(nil))}
			}
			out := make([]chan result, 4)
			for i, f := range []func() result{
				func() result { return send(client, 1) }, func() result { return receive(server, 2) },
				func() result { return send(server, 3) }, func() result { return receive(client, 4) },
			} {
				out[i] = make(chan result, 1)
				go func() { out[i] <- f() }()
			}
			for i := 0; i < 4; i += 2 {
				sent, received := <-out[i], <-out[i+1]
				if sent.err != nil || received.err != nil || sent.sum != received.sum {
					t.Errorf("direction %d: sent %v, received %v, same bytes %v", i/2, sent.err, received.err, sent.sum == received.sum)
				}
			}
		})
	}
}

func TestTunnelCarriesAnInnerHalfClose(t *testing.T) {
	cert, roots := testCertificate(t)
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			client, server := tunnelPair(t, typ, ServerOptions{})
			done := make(chan error, 1)
			go func() {
				s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
				// Everything up to the close_notify, then the same back, then the end.
				data, err := io.ReadAll(s)
				if err == nil {
					_, err = s.Write(data)
				}
				done <- errors.Join(err, s.Close())
			}()
			c := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "pg.example.test"})
			if _, err := c.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || string(got) != "question" {
				t.Errorf("read %q, %v", got, err)
			}
			if err := <-done; err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
}

func TestTunnelHalfClosesOfItsOwn(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			client, server := tunnelPair(t, typ, ServerOptions{})
			if _, err := client.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			if err := closeWrite(client); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(server); err != nil || string(got) != "question" {
				t.Fatalf("server read %q, %v", got, err)
			}
			if _, err := server.Write([]byte("answer")); err != nil {
				t.Fatalf("write after the peer's end: %v", err)
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
				t.Errorf("client read %q, %v", got, err)
			}
			if _, err := client.Write([]byte("x")); err == nil {
				t.Error("a write after CloseWrite succeeded")
			}
		})
	}
}

// oneWrite counts the writes of the connection below.
type oneWrite struct {
	net.Conn
	writes [][]byte
}

func (c *oneWrite) Write(p []byte) (int, error) {
	c.writes = append(c.writes, bytes.Clone(p))
	return len(p), nil
}

func (c *oneWrite) SetWriteDeadline(time.Time) error { return nil }

func (c *oneWrite) Close() error { return nil }

func TestTunnelWritesOneFrameAsOneWrite(t *testing.T) {
	payload := bytes.Repeat([]byte("x"), 16<<10)
	for typ, head := range map[string]int{"websocket": 4, "alpn-ping": 4, "alpn": 0} {
		below := new(oneWrite)
		server := lookup(typ).Server(below, nil, ServerOptions{})
		_, _ = server.Write(payload)
		_, _ = server.Write(nil)
		if len(below.writes) != 1 && typ != "alpn" || len(below.writes[0]) != head+len(payload) {
			t.Errorf("%s: %d writes, the first of %d bytes", typ, len(below.writes), len(below.writes[0]))
		}
		server.Close()
	}
}

// net/http stops its background read with a deadline in the past when a handler hijacks; a tunnel that remembers that error is
// dead for kubectl exec.
func TestTunnelCarriesANestedUpgrade(t *testing.T) {
	for _, typ := range Names() {
		t.Run(typ, func(t *testing.T) {
			client, server := tunnelPair(t, typ, ServerOptions{})
			web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				a := accepted{}
				a.conn, a.typ, a.err = Accept(t.Context(), conn, rw.Reader, r, ServerOptions{})
				if a.err != nil {
					t.Error(a.err)
					return
				}
				_, _ = io.Copy(a.conn, a.conn)
			})}
			served := make(chan struct{})
			go func() { defer close(served); _ = web.Serve(&onceListener{conn: server, closed: make(chan struct{})}) }()
			inner, err := Dial(t.Context(), client, ClientOptions{Type: typ, Host: "api.example.test"})
			if err != nil {
				t.Fatal(err)
			}
			inner.SetDeadline(time.Now().Add(5 * time.Second))
			for range 3 {
				if _, err := inner.Write([]byte("nested")); err != nil {
					t.Fatal(err)
				}
				if got := mustRead(t, inner, 6); string(got) != "nested" {
					t.Errorf("read %q", got)
				}
			}
			inner.Close()
			_ = web.Close()
			<-served
		})
	}
}

// onceListener gives one connection and then waits to be closed.
type onceListener struct {
	conn   net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *onceListener) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *onceListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (l *onceListener) Addr() net.Addr { return &net.TCPAddr{} }
