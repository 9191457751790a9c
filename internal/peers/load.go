//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/procstat"
)

// The kinds of a job.
const (
	kindUpload   = "upload"    // bulk to the backend, for a time
	kindDownload = "download"  // bulk from it
	kindTransfer = "transfer"  // Bytes to the backend, to the last one
	kindPingPong = "ping-pong" // 64 bytes there and back on each connection
	kindConnect  = "connect"   // connection after connection, one echo each
	kindIdle     = "idle"      // what Conns tunnels cost that do nothing
	kindHeld     = "held"      // Conns tunnels, an echo each over the time and at its end
	kindRequests = "requests"  // HTTP request after request on each of Conns connections
	kindEchoes   = "echoes"    // 64 bytes there and back on each tunnel, again and again
)

// The ways in.
const (
	viaPassthrough = "passthrough"
	viaUpgrade     = "upgrade"   // Upgrade: alpn over plaintext, and a passthrough ClientHello inside
	viaWebSocket   = "websocket" // the same with Upgrade: websocket, for idle tunnels, and
	viaUpgradeTLS  = "tls+alpn"  // with either upgrade in TLS
	viaFramedTLS   = "tls+websocket"
	viaTLS         = "tls"      // the router terminates
	viaBalancer    = "balancer" // HTTPS to a load balancer; a tunnel is a WebSocket upgrade through it
)

// job is what a load process is told on its standard input.
type job struct {
	Kind string
	// Addr is the router's, Service the backend's behind it, Via the way.
	Addr, Service, Via string
	Conns              int
	// Warm goes before the window of Duration; idle waits as long before it reads memory.
	Warm, Duration time.Duration
	Bytes          int64
	// PIDs are the router's.
	PIDs procstat.Group
}

// bound is how long a job may take at the very most.
func (j job) bound() time.Duration {
	return j.Warm + j.Duration + 20*time.Second + time.Duration(j.Conns)*4*time.Millisecond
}

// sample is what a job measured of the router in its window.
type sample struct {
	// Seconds is the window, CPU what the router used in it.
	Seconds, CPU float64
	// Bytes were moved, Ops were completed: round trips, connections.
	Bytes, Ops int64
	// P50 of the round trips.
	P50 time.Duration
	// Tunnels are open at the end, Lost were opened and are not. PSS, FDs: what all of them cost the router above none.
	Tunnels, Lost, PSS, FDs int64
	// Copied went through the router's read(2) or its write(2), whichever is more: nginx reads with recv(2).
	Copied int64
	// Calls are the router's system calls by name, where they were counted.
	Calls map[string]int64
}

// loadMain does the one job that stands on in.
func loadMain(ctx context.Context, in io.Reader, out io.Writer) error {
	var j job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	do := map[string]func(context.Context, job) (sample, error){
		kindUpload: bulk, kindDownload: bulk, kindTransfer: transfer, kindPingPong: pingPong,
		kindConnect: connect, kindIdle: idle, kindHeld: held, kindRequests: requests, kindEchoes: echoes,
	}[j.Kind]
	if do == nil {
		return fmt.Errorf("job: unknown kind %q", j.Kind)
	}
	s, err := do(ctx, j)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s)
}

// window measures what the router uses in the job's time after its warm-up, and where count stands at both ends of it.
func window(ctx context.Context, j job, count func() int64) (from, to int64, s sample, err error) {
	if err := wait(ctx, j.Warm); err != nil {
		return 0, 0, s, err
	}
	before, err := j.PIDs.CPU()
	if err != nil {
		return 0, 0, s, err
	}
	from, begin := count(), time.Now()
	if err := wait(ctx, j.Duration); err != nil {
		return 0, 0, s, err
	}
	to, s.Seconds = count(), time.Since(begin).Seconds()
	after, err := j.PIDs.CPU()
	s.CPU = after.Sub(before).Total.Seconds()
	return from, to, s, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// tunnel is one end of a connection through the router.
type tunnel interface {
	io.ReadWriter
	close()
}

// opener opens the job's tunnels. hello is the passthrough ClientHello, and the echo service's first message.
type opener struct {
	job
	hello  []byte
	config *tls.Config
}

func newOpener(j job) (*opener, error) {
	name := j.Service + passDomain
	if j.Via == viaTLS || j.Via == viaBalancer {
		name = j.Service + termDomain
	}
	// X25519 is pinned: Go prefers a hybrid that OpenSSL 3.0 does not have and that costs half as much again.
	o := &opener{job: j, config: &tls.Config{
		ServerName: name, NextProtos: []string{alpn}, CurvePreferences: []tls.CurveID{tls.X25519}, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // the certificate is the lab's, and checking it would cost the load, not the router
	}}
	var err error
	o.hello, err = clientHello(o.config)
	return o, err
}

// open connects and, where the service is echo, returns only after the first bytes came back: the tunnel stands.
func (o *opener) open() (tunnel, error) {
	switch o.Via {
	case viaTLS:
		return o.openTLS()
	case viaBalancer:
		return o.openUpgraded()
	case viaWebSocket:
		return o.openLayered("websocket", false)
	case viaUpgradeTLS:
		return o.openLayered("alpn", true)
	case viaFramedTLS:
		return o.openLayered("websocket", true)
	}
	s, err := dial(o.Addr)
	if err != nil {
		return nil, err
	}
	if err := o.greet(s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (o *opener) greet(s socket) error {
	if o.Via == viaUpgrade {
		if err := askUpgrade(s, "bench.test", "alpn"); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
	}
	if _, err := s.Write(o.hello); err != nil {
		return fmt.Errorf("ClientHello: %w", err)
	}
	if o.Service != serviceEcho {
		return nil
	}
	if _, err := io.ReadFull(s, make([]byte, len(o.hello))); err != nil {
		return fmt.Errorf("echo of the ClientHello: %w", err)
	}
	return nil
}

// askUpgrade reads the head of the answer byte by byte: what follows is the tunnel's.
func askUpgrade(s io.ReadWriter, host, token string) error {
	request := "GET " + upgradePath + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: " + token + "\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" // the key of RFC 6455; alpn does without
	if _, err := s.Write([]byte(request)); err != nil {
		return err
	}
	head := make([]byte, 0, 1024)
	for len(head) < cap(head) {
		if _, err := s.Read(head[len(head) : len(head)+1]); err != nil {
			return fmt.Errorf("after %q: %w", head, err)
		}
		head = head[:len(head)+1]
		if n := len(head); n >= 4 && string(head[n-4:]) == "\r\n\r\n" {
			if len(head) < 12 || string(head[9:12]) != "101" {
				return fmt.Errorf("answered %q", head)
			}
			return nil
		}
	}
	return fmt.Errorf("an answer without end: %q", head)
}

// tlsTunnel bounds each read and write as a socket does.
type tlsTunnel struct{ *tls.Conn }

// openTLS has the router end TLS, and returns when the tunnel stands.
func (o *opener) openTLS() (tunnel, error) {
	t, err := o.handshake()
	if err != nil {
		return nil, err
	}
	if o.Service == serviceEcho {
		// The client's handshake is over before the router's; an echo says that both are, and that there is a backend.
		if err := echoOne(t, make([]byte, 1)); err != nil {
			t.close()
			return nil, fmt.Errorf("handshake: %w", err)
		}
	}
	return t, nil
}

func (o *opener) handshake() (tlsTunnel, error) {
	raw, err := net.DialTimeout("tcp", o.Addr, patience)
	if err != nil {
		return tlsTunnel{}, err
	}
	t := tlsTunnel{tls.Client(raw, o.config)}
	raw.SetDeadline(time.Now().Add(patience))
	if err := t.Handshake(); err != nil {
		raw.Close()
		return tlsTunnel{}, fmt.Errorf("handshake: %w", err)
	}
	return t, nil
}

func (t tlsTunnel) Read(b []byte) (int, error) {
	_ = t.SetReadDeadline(time.Now().Add(patience))
	return t.Conn.Read(b)
}

func (t tlsTunnel) Write(b []byte) (int, error) {
	_ = t.SetWriteDeadline(time.Now().Add(patience))
	return t.Conn.Write(b)
}

func (t tlsTunnel) close() { t.Close() }

// finish says that nothing more will be written.
func (t tlsTunnel) finish() error { return t.CloseWrite() }

// echoOne sends message and reads it back.
func echoOne(t io.ReadWriter, message []byte) error {
	if _, err := t.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(t, message)
	return err
}

// errCaptured ends the handshake of clientHello once the hello is written.
var errCaptured = errors.New("captured")

// clientHello is what a real client of that configuration sends first.
func clientHello(config *tls.Config) ([]byte, error) {
	var c recorder
	if err := tls.Client(&c, config).Handshake(); !errors.Is(err, errCaptured) {
		return nil, fmt.Errorf("ClientHello: %w", err)
	}
	return c.hello, nil
}

type recorder struct {
	net.Conn // nil: nothing but Write and Close is called
	hello    []byte
}

func (c *recorder) Write(b []byte) (int, error) {
	c.hello = append(c.hello, b...)
	return 0, errCaptured
}

func (c *recorder) Close() error { return nil }
