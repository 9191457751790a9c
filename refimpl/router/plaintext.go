package router

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/clienthello"
	"github.com/tlsroute/tlsroute-bench/refimpl/sniff"
)

// openers are the routes of streams that begin with neither TLS nor HTTP, by index; -1 = such a stream is closed.
type openers struct{ postgres, ssh, serverFirst int }

// openers finds the routes that plaintext names. c has its defaults.
func (f *faults) openers(c Config) openers {
	find := func(path, name string) int {
		if name == "" {
			return -1
		}
		i := slices.IndexFunc(c.Routes, func(r Route) bool { return r.Name == name })
		if i < 0 {
			f.add(path, "there is no route %q", name)
		}
		return i
	}
	open := func(path, name string) int {
		i := find(path, name)
		if i >= 0 && c.Routes[i].ClientAuth.Mode == AuthRequire {
			f.add(path, "route %q requires a client certificate, and there is none without TLS", name)
		}
		if i >= 0 && c.Routes[i].Mode == ModePassthrough && c.Routes[i].Backend.TLS != Off {
			f.add(path, "route %q asks its backend for the TLS of the client, and there is none", name)
		}
		return i
	}
	plain := c.Plaintext
	o := openers{
		postgres:    find("plaintext.postgres", plain.Postgres),
		ssh:         open("plaintext.ssh", plain.SSH),
		serverFirst: open("plaintext.server_first.route", plain.ServerFirst.Route),
	}
	if o.postgres >= 0 && !takesPostgres(c.Routes[o.postgres]) {
		f.add("plaintext.postgres", "route %q does not take ALPN %q, which is what its clients speak: add it there", plain.Postgres, postgresALPN)
	}
	const after = "plaintext.server_first.after"
	switch d := plain.ServerFirst.After; {
	case d < 0:
		f.add(after, "%s is negative", d)
	case plain.ServerFirst.Route == "" && d != 0:
		f.add("plaintext.server_first.route", "is required")
	case d != 0 && d >= c.Limits.ClientHelloTimeout:
		f.add(after, "%s is not shorter than limits.client_hello_timeout, %s", d, c.Limits.ClientHelloTimeout)
	}
	if o.serverFirst >= 0 && c.ProxyProtocol.Mode == "optional" {
		f.add("plaintext.server_first", "proxy_protocol.mode optional waits for a client's first bytes: use required or off")
	}
	return o
}

func takesPostgres(r Route) bool {
	return len(r.ALPN) == 0 || slices.ContainsFunc(r.ALPN, func(name string) bool {
		head, prefix := strings.CutSuffix(name, "*")
		return name == postgresALPN || prefix && head != postgresALPN && strings.HasPrefix(postgresALPN, head)
	})
}

// silent waits so long for the first bytes, and tells whether none came. The connection it returns gives them back. That a
// connection failed is the next reader's to find out.
func silent(conn net.Conn, wait time.Duration) (net.Conn, bool) {
	conn.SetReadDeadline(time.Now().Add(wait))
	defer conn.SetReadDeadline(time.Time{})
	first := make([]byte, sniff.MaxBytes)
	n, err := conn.Read(first)
	return clienthello.NewConn(conn, first[:n]), n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// plain joins a stream without TLS to the backend of a route; what was read of it is the first that goes there.
func (c *session) plain(conn net.Conn, depth, index int) {
	if depth == 0 && !c.countAs(c.source.Addr()) {
		return
	}
	r := c.policy.config.Routes[index]
	c.sni, c.alpn, c.route = "", "", r.Name
	c.connect(conn, nil, r)
}
