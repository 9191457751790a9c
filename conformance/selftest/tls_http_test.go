package selftest

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// hosting is the naive router as one that forwards requests by their host.
func hosting(h hostBugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		h.on = true
		target := naiveWith(bugs{tls2: tls2{http: h}})(t)
		target.Features = append(target.Features, "http-routes")
		return target
	}
}

// hostBugs are the switches of the naive router's HTTP.
type hostBugs struct {
	on          bool
	byHost      bool // the name of the handshake is forgotten
	literally   bool // hosts that ask for a certificate are known by their spelling
	onlyHost    bool // the target of the request is not looked at when it is compared, and is when it is routed
	statusOnly  bool // answers 421, and forwards the request all the same
	neverAnswer bool
}

// requests serves a connection on which HTTP was agreed upon; false means that this router forwards bytes.
func (n *naive) requests(conn *tls.Conn, h wire.Hello, route conformance.FixtureRoute) bool {
	if !n.http.on || route.Name != "web" {
		return false
	}
	head, behind, ok := header(conn)
	if !ok {
		return true
	}
	host := hostOf(head)
	compared := host
	if n.http.onlyHost {
		compared = plainHost(field(head, "Host"))
	}
	misdirected := compared != h.SNI
	if n.http.literally {
		misdirected = field(head, "Host") == "mtls."+conformance.FixtureDomain
	}
	switch {
	case n.http.neverAnswer && misdirected:
		_, _ = io.Copy(io.Discard, conn)
		return true
	case misdirected && !n.http.byHost:
		_, _ = io.WriteString(conn, "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		if !n.http.statusOnly {
			_ = netx.CloseWrite(conn)
			return true
		}
	}
	for _, r := range conformance.FixtureRoutes(n.fixture) {
		if r.Name == "web" && host == h.SNI || len(r.SNI) == 1 && r.SNI[0] == host && host != h.SNI {
			b, err := net.Dial("tcp", n.address(r))
			if err != nil {
				return true
			}
			if _, err := b.Write(append([]byte(head), behind...)); err != nil {
				_ = b.Close()
				return true
			}
			n.join(conn, b)
			return true
		}
	}
	return true
}

// hostOf is the host that a request is for: RFC 9112 section 3.3.
func hostOf(head string) string {
	line, _, _ := strings.Cut(head, "\r\n")
	if _, rest, ok := strings.Cut(line, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		return plainHost(host)
	}
	return plainHost(field(head, "Host"))
}

func plainHost(host string) string {
	name, _, _ := strings.Cut(strings.ToLower(host), ":")
	return strings.TrimSuffix(name, ".")
}

func init() {
	right = append(right, conforming{
		name: "naive router of requests", role: conformance.Router, only: []string{"TLS-30"}, target: hosting(hostBugs{}),
	})
	addMutant("TLS-30", "forgets the name of the handshake", hosting(hostBugs{byHost: true}))
	addMutant("TLS-30", "knows strict hosts by their spelling", hosting(hostBugs{literally: true}))
	addMutant("TLS-30", "compares Host and routes by the target", hosting(hostBugs{onlyHost: true}))
	addMutant("TLS-30", "answers and forwards all the same", hosting(hostBugs{statusOnly: true}))
	addMutant("TLS-30", "holds the request", hosting(hostBugs{neverAnswer: true}))
}
