package proxy

import (
	"io"
	"net"
	"sync"
	"time"
)

// stdio makes a connection of a reader and a writer. Close ends a Read at once, even where the reader cannot be interrupted, as
// with an inherited pipe: the goroutine that waits in it then stays behind.
type stdio struct {
	in  *io.PipeReader
	out io.Writer

	once sync.Once
	err  error // of closing out; guarded by once
}

func newStdio(in io.Reader, out io.Writer) *stdio {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		w.CloseWithError(err) // nil is io.EOF
		_ = closeIt(in)       // it has been read to its end
	}()
	return &stdio{in: r, out: out}
}

func closeIt(v any) error {
	if c, ok := v.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (c *stdio) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *stdio) Write(p []byte) (int, error) { return c.out.Write(p) }

// CloseWrite closes the writer: the one who reads it meets the end.
func (c *stdio) CloseWrite() error {
	c.once.Do(func() { c.err = closeIt(c.out) })
	return c.err
}

func (c *stdio) Close() error {
	_ = c.in.Close() // of a pipe: it cannot fail
	return c.CloseWrite()
}

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }

func (c *stdio) LocalAddr() net.Addr  { return stdioAddr{} }
func (c *stdio) RemoteAddr() net.Addr { return stdioAddr{} }

// Deadlines do nothing: splice.Join puts them on TCP only.
func (c *stdio) SetDeadline(time.Time) error      { return nil }
func (c *stdio) SetReadDeadline(time.Time) error  { return nil }
func (c *stdio) SetWriteDeadline(time.Time) error { return nil }
