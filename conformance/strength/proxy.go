package strength

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// Handler carries one connection; c is closed when it returns. dial opens one to what is behind the proxy, and returns nil when that
// does not work.
type Handler func(c net.Conn, dial func() net.Conn)

// Copy copies one direction in its own way until src ends. nil says that src ended regularly, and dst is half-closed; [ErrKept]
// that dst is to be left as it is; any other error that both are to be reset.
type Copy func(dst, src net.Conn) error

// ErrKept is returned by a Copy that keeps the end of src to itself.
var ErrKept = errors.New("the end is not passed on")

// Faithful is the Copy without a fault.
func Faithful(dst, src net.Conn) error {
	_, err := io.Copy(dst, src)
	return err
}

// Pipe carries a connection with a fault in one direction or both: up is from the client, down to it; nil is [Faithful].
func Pipe(up, down Copy) Handler {
	return func(c net.Conn, dial func() net.Conn) {
		b := dial()
		if b == nil {
			_ = netx.Reset(c)
			return
		}
		defer b.Close()
		join(c, b, up, down)
	}
}

// join returns when both directions have ended.
func join(c, b net.Conn, up, down Copy) {
	var wg sync.WaitGroup
	wg.Go(func() { carry(down, c, b) })
	carry(up, b, c)
	wg.Wait()
}

func carry(f Copy, dst, src net.Conn) {
	if f == nil {
		f = Faithful
	}
	switch err := f(dst, src); {
	case errors.Is(err, ErrKept):
	case err != nil:
		_, _ = netx.Reset(dst), netx.Reset(src)
	default:
		_ = netx.CloseWrite(dst)
	}
}

// Proxy listens on loopback before something.
type Proxy struct {
	ln     net.Listener
	dial   func() (net.Conn, error)
	handle Handler
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	over  bool
}

// Listen starts a proxy. Close ends it and every connection.
func Listen(dial func() (net.Conn, error), handle Handler) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{ln: ln, dial: dial, handle: handle, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Address is where it listens.
func (p *Proxy) Address() string { return p.ln.Addr().String() }

// Close waits for every connection's handler.
func (p *Proxy) Close() {
	_ = p.ln.Close()
	p.mu.Lock()
	p.over = true
	for c := range p.conns {
		cut(c)
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// cut ends a connection at once: TLS would wait until its last alert is written.
func cut(c net.Conn) {
	if tcp := netx.TCP(c); tcp != nil {
		c = tcp
	}
	_ = c.Close()
}

func (p *Proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.keep(c)
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(c net.Conn) {
	mine := []net.Conn{c} // of this goroutine alone: a handler dials before it copies
	defer func() {
		_ = c.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range mine {
			delete(p.conns, c)
		}
	}()
	p.handle(c, func() net.Conn {
		b, err := p.dial()
		if err != nil {
			return nil
		}
		p.keep(b)
		mine = append(mine, b)
		return b
	})
}

func (p *Proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	if p.over {
		cut(c)
	}
}
