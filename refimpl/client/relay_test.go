package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

const proxyName = "proxy.example.test"

// A relay is a forward proxy that counts.
type relay struct {
	url  *url.URL
	auth *authority // of its certificate
	// answer replaces the 200 of CONNECT, "" for none.
	answer string
	glue   string // what comes in one write with the 200

	mu       sync.Mutex // guards what follows
	targets  []string   // one a tunnel
	outgoing []string   // local addresses of the connections to the targets
}

// startRelay runs a proxy for a scheme of URLs that lets only "user:pass word" in; set, which may be nil, changes it first.
func startRelay(t *testing.T, scheme string, set func(*relay)) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{auth: newAuthority(t, "proxy")}
	r.url = &url.URL{Scheme: scheme, Host: ln.Addr().String(), User: url.UserPassword("user", "pass word")}
	leaf := r.auth.leaf(proxyName)
	if set != nil {
		set(r)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			wg.Go(func() {
				defer conn.Close()
				switch scheme {
				case "socks5":
					r.socks(conn)
				case "https":
					r.connect(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{leaf}}))
				default:
					r.connect(conn)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return r
}

// use makes d go through r. The name in the URL of an https:// proxy is resolved by the test.
func (r *relay) use(d *Dialer) {
	target := *r.url
	if r.url.Scheme == "https" {
		target.Host = net.JoinHostPort(proxyName, r.url.Port())
		d.NetDial = dialLoopback
	}
	d.Proxy = func(*url.URL) (*url.URL, error) { return &target, nil }
	d.ProxyRoots = r.auth.pool()
}

// dialLoopback dials the port of addr here.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// closedAddress has nobody listening.
func closedAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (r *relay) connect(conn net.Conn) {
	br := bufio.NewReader(conn)
	req, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	login := &http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}
	user, password, _ := login.BasicAuth()
	switch {
	case req.Method != http.MethodConnect || req.Host != req.RequestURI:
		_, _ = io.WriteString(conn, "HTTP/1.1 400 x\r\n\r\n")
	case user != "user" || password != "pass word":
		_, _ = io.WriteString(conn, "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n")
	case r.answer != "":
		_, _ = io.WriteString(conn, r.answer)
		_, _ = io.Copy(io.Discard, br)
	default:
		// RFC 9110 section 9.3.6: the field means nothing here.
		r.carry(conn, br, req.Host, "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\n"+r.glue)
	}
}

func (r *relay) socks(conn net.Conn) {
	read := func(n int) []byte {
		p := make([]byte, n)
		if _, err := io.ReadFull(conn, p); err != nil {
			return make([]byte, n)
		}
		return p
	}
	if methods := read(int(read(2)[1])); !slices.Contains(methods, 2) {
		_, _ = conn.Write([]byte{5, 0xff})
		return
	}
	_, _ = conn.Write([]byte{5, 2})
	user := read(int(read(2)[1]))
	if password := read(int(read(1)[0])); string(user) != "user" || string(password) != "pass word" {
		_, _ = conn.Write([]byte{1, 1})
		return
	}
	_, _ = conn.Write([]byte{1, 0})
	var host string
	switch kind := read(4)[3]; kind {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	port := read(2)
	r.carry(conn, conn, fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1])), "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
}

// carry joins the client with the target. A name is always loopback's.
func (r *relay) carry(conn net.Conn, from io.Reader, target, ok string) {
	_, port, _ := net.SplitHostPort(target)
	out, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return
	}
	defer out.Close()
	out.SetDeadline(time.Now().Add(20 * time.Second))
	r.mu.Lock()
	r.targets, r.outgoing = append(r.targets, target), append(r.outgoing, out.LocalAddr().String())
	r.mu.Unlock()
	_, _ = io.WriteString(conn, ok)
	var wg sync.WaitGroup
	pass := func(dst net.Conn, src io.Reader) {
		_, _ = io.Copy(dst, src)
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	wg.Go(func() { pass(out, from) })
	wg.Go(func() { pass(conn, out) })
	wg.Wait()
}

func (r *relay) seen() (targets, outgoing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.targets), slices.Clone(r.outgoing)
}
