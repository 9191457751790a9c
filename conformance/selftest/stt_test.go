package selftest

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// declines answers an SSLRequest itself, as a server without TLS does.
func declines(t *testing.T) conformance.Target {
	target := newLab(t).start(t, nil)
	target.Launcher = frontedWhole{frontedInstances: frontedInstances{target.Launcher, t, nil}, handle: func(c net.Conn, dial func() net.Conn) {
		head := make([]byte, 4096)
		n, err := c.Read(head)
		if err != nil {
			return
		}
		if bytes.Equal(head[:n], wire.PostgresSSLRequest()) {
			_, _ = c.Write([]byte{'N'})
			return
		}
		b := dial()
		if b == nil {
			return
		}
		defer b.Close()
		_, _ = b.Write(head[:n])
		done := make(chan struct{})
		go func() { defer close(done); copyWith(nil, c, b) }()
		_, _ = io.Copy(b, c)
		_ = b.(*net.TCPConn).CloseWrite()
		<-done
	}}
	return target
}

func withoutALPN(name, alpn string) func(t *testing.T) conformance.Target {
	return mutatedConfig(func(_ *lab, c *router.Config) {
		r := routeNamed(c, name)
		r.ALPN = slices.DeleteFunc(slices.Clone(r.ALPN), func(a string) bool { return a == alpn })
		if c.Plaintext.Postgres == name { // its route takes the ALPN, or the document is refused
			c.Plaintext.Postgres = "b"
		}
	})
}

func init() {
	addMutant("STT-01", "declines TLS", declines)
	addMutant("STT-01", "goes by the default", mutatedConfig(func(_ *lab, c *router.Config) {
		if c.Plaintext.Postgres != "" {
			routeNamed(c, "b").Backend = routeNamed(c, "a").Backend
		}
	}))
	addMutant("STT-02", "closes at a GSSENCRequest", instancesBehind(first(func(head []byte) []byte {
		if bytes.HasPrefix(head, wire.PostgresGSSRequest()) {
			return nil
		}
		return head
	})))
	addMutant("STT-03", "goes on with what was glued", instancesBehind(first(func(head []byte) []byte {
		if request := wire.PostgresSSLRequest(); bytes.HasPrefix(head, request) && len(head) > len(request) {
			return request
		}
		return head
	})))
	addMutant("STT-04", "drops CancelRequests", instancesBehind(first(func(head []byte) []byte {
		if len(head) == 16 {
			return nil
		}
		return head
	})))
	addMutant("STT-05", "takes any ALPN and none", mutatedConfig(func(_ *lab, c *router.Config) {
		if c.Plaintext.Postgres != "" {
			routeNamed(c, "b").ALPN = nil
		}
	}))
	addMutant("STT-06", "does not know the ALPN", withoutALPN("a", "postgresql"))
}
