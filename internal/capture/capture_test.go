package capture

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// identity is a self-signed certificate for both ends.
func identity(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "capture test"}, DNSNames: []string{"a.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// handshakes are what a capture must tell apart.
func handshakes(t *testing.T) []handshake {
	id := identity(t)
	client := func(edit func(*tls.Config)) *tls.Config {
		c := &tls.Config{InsecureSkipVerify: true, ServerName: "a.example.test", NextProtos: []string{"one", "two"}}
		edit(c)
		return c
	}
	server := func(edit func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{id}, NextProtos: []string{"two", "one"}}
		edit(c)
		return c
	}
	withCert := func(c *tls.Config) { c.Certificates = []tls.Certificate{id} }
	ask := func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }
	var many []string
	for i := range 200 {
		many = append(many, strings.Repeat(string(rune('a'+i%26)), 200))
	}
	return []handshake{
		{name: "TLS 1.3, hybrid key share, certificate", client: client(withCert), server: server(ask), cert: true},
		{name: "TLS 1.3, asked and none given", client: client(func(*tls.Config) {}), server: server(ask)},
		{name: "TLS 1.3, not asked", client: client(withCert), server: server(func(*tls.Config) {})},
		{name: "TLS 1.3 after a retry, certificate", client: client(withCert), cert: true, server: server(func(c *tls.Config) {
			ask(c)
			c.CurvePreferences = []tls.CurveID{tls.CurveP384} // no share of it is in the first ClientHello
		})},
		{name: "TLS 1.2, certificate", client: client(func(c *tls.Config) { withCert(c); c.MaxVersion = tls.VersionTLS12 }), server: server(ask), cert: true},
		{name: "TLS 1.2, asked and none given", client: client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), server: server(ask)},
		{name: "TLS 1.2 server, not asked", client: client(withCert), server: server(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })},
		{name: "no SNI, no ALPN", client: client(func(c *tls.Config) { c.ServerName, c.NextProtos = "", nil }), server: server(func(*tls.Config) {})},
		{name: "ClientHello of 40 KiB in several records", client: client(func(c *tls.Config) { withCert(c); c.NextProtos = many }), server: server(func(c *tls.Config) { ask(c); c.NextProtos = nil }), cert: true},
	}
}

type handshake struct {
	name           string
	client, server *tls.Config
	cert           bool
}

// want is what an observation of it must say, from what the client really wrote.
func (h handshake) want(t *testing.T, written []byte) Observation {
	t.Helper()
	hello, _, err := hello(written)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(hello.Message)
	o := Observation{
		Path: "p", Hop: "h", ALPN: append([]string{}, h.client.NextProtos...), ClientCert: h.cert, ClientCertKnown: true,
		SHA256: hex.EncodeToString(sum[:]), Random: hex.EncodeToString(hello.Random),
	}
	if h.client.ServerName != "" {
		o.SNI = &h.client.ServerName
	}
	return o
}

// tape keeps what goes over a connection, in the order in which this end saw it.
type tape struct {
	net.Conn
	mu    sync.Mutex
	parts []part
}

type part struct {
	fromServer bool
	data       []byte
}

func (c *tape) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.keep(true, p[:n])
	return n, err
}

func (c *tape) Write(p []byte) (int, error) {
	c.keep(false, p)
	return c.Conn.Write(p)
}

func (c *tape) keep(fromServer bool, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parts = append(c.parts, part{fromServer, bytes.Clone(p)})
}

func (c *tape) written() (all []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parts {
		if !p.fromServer {
			all = append(all, p.data...)
		}
	}
	return all
}

// shake does the handshake over loopback, one byte each way behind it, and returns the client's tape.
func (h handshake) shake(t *testing.T, ln net.Listener, keys *KeyLog) *tape {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		defer c.Close()
		_ = c.SetDeadline(deadline)
		s := tls.Server(c, h.server)
		_, err = io.CopyN(s, s, 1)
		if err == nil {
			_, err = io.Copy(io.Discard, s) // to the client's close_notify
		}
		served <- err
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(deadline)
	conn := &tape{Conn: raw}
	config := h.client.Clone()
	if keys != nil {
		config.KeyLogWriter = keys
	}
	c := tls.Client(conn, config)
	if _, err := c.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return conn
}

func listen(t *testing.T, address string) (net.Listener, netip.AddrPort) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, netip.MustParseAddrPort(ln.Addr().String())
}

// ignore clears what a test cannot know beforehand.
func ignore(o Observation) Observation {
	o.At, o.ClientPort = time.Time{}, 0
	return o
}

// TestLoopbackShowsEachClientHello captures for real. Without the right to, it checks that the error says so.
func TestLoopbackShowsEachClientHello(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, server := listen(t, address)
		keys := &KeyLog{}
		s, err := Start(t.Context(), []Hop{{Path: "p", Name: "h", Server: server}}, keys)
		if errors.Is(err, ErrNotPermitted) && os.Geteuid() != 0 {
			t.Logf("may not capture, and says so: %v", err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var want []Observation
		for _, h := range handshakes(t) {
			want = append(want, h.want(t, h.shake(t, ln, keys).written()))
		}
		got, err := s.Stop()
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if got[i].ClientPort == 0 || got[i].At.IsZero() {
				t.Errorf("observation %d has no port or time", i)
			}
			got[i] = ignore(got[i])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", address, diff)
		}
		if s.Lost() != 0 {
			t.Errorf("lost %d", s.Lost())
		}
	}
}

// frames is a source of frames made by a test.
type frames struct {
	list   [][]byte
	mu     sync.Mutex
	closed chan struct{}
	once   sync.Once
}

func newFrames(list [][]byte) *frames { return &frames{list: list, closed: make(chan struct{})} }

func (f *frames) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		<-f.closed
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, f.list[0])
	f.list = f.list[1:]
	return n, nil
}

func (f *frames) SetReadDeadline(time.Time) error { return f.Close() }
func (f *frames) Close() error                    { f.once.Do(func() { close(f.closed) }); return nil }

// packets makes Ethernet frames of a tape: segments of a given size, numbers that wrap, and each frame twice.
func packets(t *testing.T, client, server netip.AddrPort, parts []part, mss int, first uint32) [][]byte {
	t.Helper()
	var out [][]byte
	seq := map[bool]uint32{false: first, true: first + 77}
	send := func(fromServer, syn bool, data []byte) {
		src, dst := client, server
		if fromServer {
			src, dst = dst, src
		}
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		tcp := &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()), Seq: seq[fromServer], SYN: syn, ACK: !syn || fromServer}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		b := gopacket.NewSerializeBuffer()
		err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true},
			&layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}, ip, tcp, gopacket.Payload(data))
		if err != nil {
			t.Fatal(err)
		}
		frame := bytes.Clone(b.Bytes())
		out = append(out, frame, frame)
		seq[fromServer] += uint32(len(data))
		if syn {
			seq[fromServer]++
		}
	}
	send(false, true, nil)
	send(true, true, nil)
	for _, p := range parts {
		for rest := p.data; len(rest) > 0; {
			n := min(mss, len(rest))
			send(p.fromServer, false, rest[:n])
			rest = rest[n:]
		}
	}
	return out
}

func observe(t *testing.T, hops []Hop, keys *KeyLog, list [][]byte) []Observation {
	t.Helper()
	src := newFrames(list)
	s, err := start(t.Context(), "test", hops, func(string, []uint16) (source, error) { return src, nil })
	if err != nil {
		t.Fatal(err)
	}
	if keys != nil {
		s.AddKeyLog(keys)
	}
	got, err := s.Stop()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSegmentsInAnyOrderAndNumberGiveTheSameObservation(t *testing.T) {
	ln, _ := listen(t, "127.0.0.1:0")
	client, server := netip.MustParseAddrPort("10.0.0.1:5555"), netip.MustParseAddrPort("10.0.0.2:443")
	hops := []Hop{{Path: "p", Name: "h", Server: server}}
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for _, h := range handshakes(t) {
		t.Run(h.name, func(t *testing.T) {
			keys := &KeyLog{}
			conn := h.shake(t, ln, keys)
			want := h.want(t, conn.written())
			for _, mss := range []int{97, 1460, 1 << 15} {
				list := packets(t, client, server, conn.parts, mss, 0xfffffe00)
				// Neighbours change places, but nothing moves before the two SYNs.
				for i := 4; i+9 < len(list); i += 9 {
					random.Shuffle(9, func(a, b int) { list[i+a], list[i+b] = list[i+b], list[i+a] })
				}
				got := observe(t, hops, keys, list)
				if len(got) != 1 {
					t.Fatalf("segments of %d: %d observations", mss, len(got))
				}
				if diff := cmp.Diff(want, ignore(got[0])); diff != "" {
					t.Errorf("segments of %d (-want +got):\n%s", mss, diff)
				}
			}
		})
	}
}

func TestWithoutTheSecretACertificateIsUnknownNotAbsent(t *testing.T) {
	ln, _ := listen(t, "127.0.0.1:0")
	client, server := netip.MustParseAddrPort("10.0.0.1:5555"), netip.MustParseAddrPort("10.0.0.2:443")
	hops := []Hop{{Name: "h", Server: server}}
	all := handshakes(t)
	conn := all[0].shake(t, ln, nil)
	got := observe(t, hops, nil, packets(t, client, server, conn.parts, 1460, 1))
	if len(got) != 1 || got[0].ClientCertKnown || !strings.Contains(got[0].Unknown, "no key log") {
		t.Errorf("without a key log: %+v", got)
	}
	// TLS 1.2 needs none.
	conn = all[4].shake(t, ln, nil)
	got = observe(t, hops, nil, packets(t, client, server, conn.parts, 1460, 1))
	if len(got) != 1 || !got[0].ClientCertKnown || !got[0].ClientCert {
		t.Errorf("TLS 1.2 without a key log: %+v", got)
	}
	// Only the hello came through.
	got = observe(t, hops, nil, packets(t, client, server, conn.parts[:1], 1460, 1))
	if len(got) != 1 || got[0].ClientCertKnown || got[0].Unknown != "the handshake was not seen to its end" {
		t.Errorf("the hello alone: %+v", got)
	}
	// Not even that: no SYN, or half a hello.
	list := packets(t, client, server, conn.parts, 1460, 1)
	if got = observe(t, hops, nil, list[4:]); len(got) != 0 {
		t.Errorf("without a SYN: %+v", got)
	}
	if got = observe(t, hops, nil, packets(t, client, server, []part{{false, conn.parts[0].data[:50]}}, 1460, 1)); len(got) != 0 {
		t.Errorf("half a hello: %+v", got)
	}
}

func TestHopsToTheSameServerAreToldApartByTheirClient(t *testing.T) {
	ln, _ := listen(t, "127.0.0.1:0")
	conn := handshakes(t)[1].shake(t, ln, nil)
	router := netip.MustParseAddrPort("10.0.0.2:443")
	alb, person, stranger := netip.MustParseAddrPort("10.0.0.1:1001"), netip.MustParseAddrPort("10.0.0.1:1002"), netip.MustParseAddrPort("10.0.0.1:1003")
	from := func(a netip.AddrPort) func(netip.AddrPort) bool { return func(c netip.AddrPort) bool { return c == a } }
	hops := []Hop{{Path: "alb", Name: "alb->router", Server: router, From: from(alb)}, {Path: "direct", Name: "client->router", Server: router, From: from(person)}}
	var list [][]byte
	for _, c := range []netip.AddrPort{person, alb, stranger} {
		list = append(list, packets(t, c, router, conn.parts, 1460, 1)...)
	}
	// The same two ends again, with another SYN, are a connection of their own; another server's port is none of ours.
	list = append(list, packets(t, person, router, conn.parts, 1460, 9_000_000)...)
	list = append(list, packets(t, person, netip.MustParseAddrPort("10.0.0.3:443"), conn.parts, 1460, 1)...)
	var got []string
	for _, o := range observe(t, hops, nil, list) {
		got = append(got, o.Path+" "+o.Hop)
	}
	if diff := cmp.Diff([]string{"direct client->router", "alb alb->router", " ", "direct client->router"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNotPermittedIsSaidAsSuch(t *testing.T) {
	hops := []Hop{{Name: "h", Server: netip.MustParseAddrPort("127.0.0.1:443")}}
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EACCES} {
		_, err := start(t.Context(), "lo", hops, func(string, []uint16) (source, error) { return nil, os.NewSyscallError("open a packet socket", errno) })
		if !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			t.Errorf("%v: %v", errno, err)
		}
	}
	_, err := start(t.Context(), "lo", hops, func(string, []uint16) (source, error) { return nil, syscall.ENOMEM })
	if err == nil || errors.Is(err, ErrNotPermitted) {
		t.Errorf("out of memory: %v", err)
	}
	if _, err := StartOn(t.Context(), "no-such-interface", hops, nil); err == nil || errors.Is(err, ErrNotPermitted) {
		t.Errorf("an interface that is not there: %v", err)
	}
	for _, bad := range [][]Hop{nil, {{Name: "h"}}} {
		if _, err := Start(t.Context(), bad, nil); err == nil {
			t.Errorf("started on %v", bad)
		}
	}
}

func TestEndOfContextEndsTheCapture(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := start(ctx, "lo", []Hop{{Name: "h", Server: netip.MustParseAddrPort("127.0.0.1:443")}},
		func(string, []uint16) (source, error) { return newFrames(nil), nil })
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-s.done
	if _, err := s.Stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop after the end of ctx: %v", err)
	}
	if _, err := s.Stop(); err == nil {
		t.Error("stopped twice without a word")
	}
}
