package selftest

import (
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// forwarderBugs are the switches of the forwarder. All off, it follows RFC 9110 and 9112 as far as the checks go.
type forwarderBugs struct {
	bothFramings  bool
	opensAtOnce   bool // an upgrade request makes a tunnel, whatever the answer
	passesSwitch  bool // a 101 that nobody asked for
	keepsNamed    bool // fields that Connection names
	trustsFirst   bool // its own field is set before those that are named are removed
	firstLineOnly bool // of Connection
}

// forwarding is a plain HTTP proxy before a stub.
func forwarding(bugs forwarderBugs) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := balancerTarget(t, nil) // for the stub; its own balancer is left alone
		path := &target.Paths[0]
		target.Features, path.IdleTimeout = nil, 0
		path.Upgrade.TLS, path.Upgrade.Roots, path.Upgrade.ServerName = false, nil, ""
		path.Address = serve(t, target.Stub.Addr().String(), func(c net.Conn, dial func() net.Conn) {
			for more := true; more; {
				more = bugs.one(c, dial)
			}
			_ = netx.CloseWrite(c)
			_, _ = io.CopyN(io.Discard, c, 64<<10) // a reset would overtake the answer
		})
		return target
	}
}

// one forwards a request and its answer; false when the connection has come to its end.
func (f forwarderBugs) one(c net.Conn, dial func() net.Conn) bool {
	head, behind, ok := header(c)
	if !ok {
		return false
	}
	framed := field(head, "Transfer-Encoding") != "" && field(head, "Content-Length") != ""
	if line, _, _ := strings.Cut(head, "\r\n"); !strings.HasSuffix(line, " HTTP/1.1") || framed && !f.bothFramings {
		_, _ = io.WriteString(c, refusal)
		return false
	}
	b := dial()
	if b == nil {
		return false
	}
	defer b.Close()
	head, asked := f.forward(head)
	if _, err := b.Write(append([]byte(head), behind...)); err != nil {
		return false
	}
	if asked && f.opensAtOnce {
		both(c, b)
		return false
	}
	answer, rest, ok := header(b)
	if !ok {
		return false
	}
	switch switches := strings.HasPrefix(answer, "HTTP/1.1 101 "); {
	case switches && !asked && !f.passesSwitch:
		_, _ = io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return false
	case switches:
		if _, err := c.Write(append([]byte(answer), rest...)); err == nil {
			both(c, b)
		}
		return false
	}
	size, _ := strconv.Atoi(field(answer, "Content-Length"))
	body := make([]byte, max(0, size-len(rest)))
	if _, err := io.ReadFull(b, body); err != nil {
		return false
	}
	_, err := c.Write(slices.Concat([]byte(answer), rest, body))
	return err == nil && !strings.EqualFold(field(answer, "Connection"), "close")
}

// forward is the header for the next hop, and whether it asks for an upgrade.
func (f forwarderBugs) forward(head string) (string, bool) {
	var named []string
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Connection") && (!f.firstLineOnly || named == nil) {
			for item := range strings.SplitSeq(value, ",") {
				named = append(named, strings.ToLower(strings.TrimSpace(item)))
			}
		}
	}
	upgrade := field(head, "Upgrade")
	asked := upgrade != "" && slices.Contains(named, "upgrade")
	own := func() {
		list := strings.TrimPrefix(field(head, "X-Forwarded-For")+", 127.0.0.1", ", ")
		head = with(without(head, "X-Forwarded-For"), "X-Forwarded-For: "+list)
	}
	if f.trustsFirst {
		own()
	}
	for _, name := range named {
		if !f.keepsNamed && name != "keep-alive" {
			head = without(head, name)
		}
	}
	if !f.trustsFirst {
		own()
	}
	head = without(without(head, "Connection"), "Upgrade")
	if asked {
		head = with(with(head, "Upgrade: "+upgrade), "Connection: Upgrade")
	}
	return head, asked
}

func init() {
	right = append(right, conforming{
		name: "forwarder", role: conformance.LoadBalancer, only: []string{"UPG-13", "UPG-18", "UPG-19", "UPG-21"}, target: forwarding(forwarderBugs{}),
	})
	addMutant("UPG-13", "forwards both framings", forwarding(forwarderBugs{bothFramings: true}))
	addMutant("UPG-18", "opens the tunnel when it is asked for", forwarding(forwarderBugs{opensAtOnce: true}))
	addMutant("UPG-18", "tunnels whatever the answer is", balancerWith(balancerBugs{}))
	addMutant("UPG-19", "passes on any 101", forwarding(forwarderBugs{passesSwitch: true}))
	addMutant("UPG-21", "forwards what Connection names", forwarding(forwarderBugs{keepsNamed: true}))
	addMutant("UPG-21", "removes its own field with the client's", forwarding(forwarderBugs{trustsFirst: true}))
	addMutant("UPG-21", "looks at the first line of Connection only", forwarding(forwarderBugs{firstLineOnly: true}))
}
