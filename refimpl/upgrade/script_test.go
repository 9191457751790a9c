package upgrade

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// script is a connection that reads given bytes, then io.EOF, and remembers what was written.
type script struct {
	r  io.Reader
	mu sync.Mutex // guards w
	w  bytes.Buffer
}

func newScript(in []byte) *script { return &script{r: bytes.NewReader(in)} }

func (s *script) Read(p []byte) (int, error) { return s.r.Read(p) }
func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

func (s *script) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.String()
}
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
