package albsim

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tlsroute/tlsroute-bench/internal/nodes"
)

// onNodes is a document whose one listener has three nodes, two of them in service.
func onNodes(target string) Config {
	cfg := plain(target)
	cfg.Attributes["idle_timeout.timeout_seconds"] = 4000 // what is open stays open
	l := &cfg.Listeners[0]
	l.Listen, l.Nodes, l.NodesInService = ":0", []string{"127.0.2.1", "127.0.2.2", "127.0.2.3"}, 2
	return cfg
}

// lookup asks a name server for A records.
func lookup(t *testing.T, server, name string) (addresses []string, ttl uint32) {
	t.Helper()
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(packed); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 512)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(b[:n]); err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Answers {
		a, ok := r.Body.(*dnsmessage.AResource)
		if !ok {
			t.Fatalf("answer %v", r)
		}
		addresses, ttl = append(addresses, netip.AddrFrom4(a.A).String()), r.Header.TTL
	}
	slices.Sort(addresses)
	return addresses, ttl
}

func ips(addrs []net.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		out = append(out, addrPort(a).Addr())
	}
	return out
}

func TestALB_DNS_01_TheNameHasTheNodesOfTheMoment(t *testing.T) {
	m := start(t, onNodes(newStub(t, nil, ok).addr), Options{TimeScale: 0.01}) // a TTL of 600 ms
	dns, err := nodes.Serve("alb.example.test", NodeTTL, ips(m.Nodes(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dns.Close(); err != nil {
			t.Error(err)
		}
	}()
	port := addrPort(m.Addrs()[0]).Port()
	at := func(ip string) *sim {
		return &sim{t: t, addr: netip.AddrPortFrom(netip.MustParseAddr(ip), port).String()}
	}
	names := func(want ...string) {
		t.Helper()
		got, ttl := lookup(t, dns.Addr(), "alb.example.test")
		if !slices.Equal(got, want) || ttl != 60 {
			t.Errorf("the name has %v for %d s, want %v for 60", got, ttl, want)
		}
		for _, ip := range got {
			if status, _, _ := at(ip).request(plainGet); status != 200 {
				t.Errorf("node %s: status %d", ip, status)
			}
		}
	}
	names("127.0.2.1", "127.0.2.2")
	if _, err := net.Dial("tcp", at("127.0.2.3").addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a node out of service: %v, want a refusal", err)
	}
	open := at("127.0.2.1").dial()

	now, err := m.Rotate(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	rotated := time.Now()
	dns.Set(ips(now))
	names("127.0.2.2", "127.0.2.3")
	if _, err := m.Rotate(t.Context(), 0); !errors.Is(err, ErrNoSpareNode) {
		t.Errorf("a rotation without a spare node: %v", err)
	}
	if status, _, _ := at("127.0.2.1").request(plainGet); status != 200 {
		t.Errorf("the node that has left, within the TTL: status %d", status)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for gone := false; !gone; <-tick.C {
		conn, err := net.Dial("tcp", at("127.0.2.1").addr)
		if gone = errors.Is(err, syscall.ECONNREFUSED); err == nil {
			conn.Close()
		}
		if time.Since(rotated) > patience {
			t.Fatal("the node that has left still accepts")
		}
	}
	if took := time.Since(rotated); took < 500*time.Millisecond {
		t.Errorf("the node that has left refused after %v", took)
	}
	open.send(plainGet)
	if status, head, _ := open.response(); status != 200 {
		t.Errorf("what was open on it: got %q", head)
	}
	if now, err = m.Rotate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	dns.Set(ips(now))
	names("127.0.2.1", "127.0.2.3")
}

func TestNothingRotatesOutsideServe(t *testing.T) {
	s, err := New(onNodes("127.0.0.1:1"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rotate(t.Context(), 0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("before: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := s.Rotate(t.Context(), 0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("behind: %v", err)
	}
}

func TestNodesThatAreRefused(t *testing.T) {
	cfg := onNodes("127.0.0.1:1")
	l := &cfg.Listeners[0]
	l.Listen, l.Nodes, l.NodesInService = "127.0.0.1:0", []string{"127.0.2.1", "localhost", "127.0.2.1"}, 4
	refused(t, cfg, "listeners[0].listen", "listeners[0].nodes[1]", "listeners[0].nodes[2]", "listeners[0].nodes_in_service")
}
