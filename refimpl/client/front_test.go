package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

const hang = -2

// front is a load balancer in front of the router.
type front struct {
	tls       func(p *path) *tls.Config // nil: its own certificate, no ALPN; plaintext has none
	plaintext bool
	answers   map[string]int // upgrade token to a status; -1 closes the connection, hang answers nothing, 0 switches
	glue      string         // sent in one write with the 101
	inside    func(p *path) *tls.Config
	end       func(inner *tls.Conn, tunnel net.Conn) // instead of an echo
	status421 bool                                   // insists on the outer name in SNI
	hangsUp   bool                                   // behind the tunnel, when it has read the ClientHello
	ping      time.Duration                          // between the router's pings, 0 for none
}

func (f front) handle(p *path, conn net.Conn, _ int) {
	sni := outerName
	if !f.plaintext {
		cfg := &tls.Config{Certificates: []tls.Certificate{p.outer.leaf(outerName)}}
		if f.tls != nil {
			cfg = f.tls(p)
		}
		s, err := p.tls("front", conn, cfg)
		if err != nil {
			return
		}
		sni = s.ConnectionState().ServerName
		conn = s
		defer s.Close()
	}
	br := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		token := strings.Join(req.Header["Upgrade"], "+")
		p.mu.Lock()
		p.offered, p.hosts = append(p.offered, token), append(p.hosts, req.Host)
		p.mu.Unlock()
		status := f.answers[token]
		if f.status421 && sni != outerName {
			status = http.StatusMisdirectedRequest
		}
		switch {
		case status == hang:
			_, _ = io.Copy(io.Discard, br)
			return
		case status < 0:
			return
		case status > 0:
			fmt.Fprintf(conn, "HTTP/1.1 %d x\r\nContent-Length: 6\r\n\r\nsorry\n", status)
			continue
		}
		tunnel, _, err := upgrade.Accept(context.Background(), &gluing{conn, f.glue}, br, req, upgrade.ServerOptions{PingInterval: f.ping})
		if err != nil {
			return
		}
		if f.hangsUp {
			_, _ = tunnel.Read(make([]byte, 8192))
			tunnel.Close()
			return
		}
		cfg := p.routerConfig()
		if f.inside != nil {
			cfg = f.inside(p)
		}
		if s, err := p.tls("inside", tunnel, cfg); err == nil {
			if f.end != nil {
				f.end(s, tunnel)
			} else {
				echo(s)
			}
		}
		tunnel.Close()
		return
	}
}

// gluing sends more bytes with the first write.
type gluing struct {
	net.Conn
	glue string
}

func (g *gluing) Write(p []byte) (int, error) {
	glue := g.glue
	g.glue = ""
	n, err := g.Conn.Write(append(append([]byte(nil), p...), glue...))
	return min(n, len(p)), err
}
