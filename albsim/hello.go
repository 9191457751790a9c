package albsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// HelloEvent is a ClientHello seen on one of the two legs, reported when its handshake has ended.
type HelloEvent struct {
	Time time.Time
	// SNI is empty when the hello names no one.
	SNI  string
	ALPN []string
	// Versions are the TLS versions on offer.
	Versions []uint16
	// ClientCert says whether a client certificate was presented.
	ClientCert bool
	// Remote is the other end: the client in front, the target behind. Local is ours.
	Remote, Local string
	// Negotiated is the ALPN protocol agreed on, if any. Err is why the handshake failed, nil if it did not.
	Negotiated string
	Err        error
}

// helloTap keeps what is written before the first byte is read: on a connection we open, that is our ClientHello as the
// target gets it.
type helloTap struct {
	net.Conn
	mu     sync.Mutex // guards sent and closed
	sent   []byte
	closed bool
}

const helloTapLimit = 64 << 10

func (t *helloTap) Write(p []byte) (int, error) {
	t.mu.Lock()
	if !t.closed && len(t.sent)+len(p) <= helloTapLimit {
		t.sent = append(t.sent, p...)
	}
	t.mu.Unlock()
	return t.Conn.Write(p)
}

func (t *helloTap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	return n, err
}

func (t *helloTap) NetConn() net.Conn { return t.Conn }

func (t *helloTap) take() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	sent := t.sent
	t.sent = nil
	return sent
}

var errHelloRead = errors.New("hello read")

// parseHello reads a recorded ClientHello with crypto/tls itself, over a connection that has nothing else to say.
func parseHello(raw []byte) (*tls.ClientHelloInfo, error) {
	var hello *tls.ClientHelloInfo
	err := tls.Server(replayConn{bytes.NewReader(raw)}, &tls.Config{
		GetConfigForClient: func(chi *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = chi
			return nil, errHelloRead
		},
	}).Handshake()
	if hello == nil {
		return nil, err
	}
	return hello, nil
}

// replayConn reads from memory and writes nowhere.
type replayConn struct{ r io.Reader }

func (c replayConn) Read(p []byte) (int, error)     { return c.r.Read(p) }
func (replayConn) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (replayConn) Close() error                     { return nil }
func (replayConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (replayConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (replayConn) SetDeadline(time.Time) error      { return nil }
func (replayConn) SetReadDeadline(time.Time) error  { return nil }
func (replayConn) SetWriteDeadline(time.Time) error { return nil }
