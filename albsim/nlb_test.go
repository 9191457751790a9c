package albsim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestNLB_TCP_01_BytesPassAsTheyAre(t *testing.T) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	target := make(chan *recorder, 1)
	at := sink(t, func(c *client) {
		w := &recorder{Conn: c.Conn}
		conn := tls.Server(w, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"teleport-x"}})
		_, _ = io.Copy(conn, io.LimitReader(conn, 4))
		target <- w
		rest(c)
	})
	m := start(t, throughTCP(at.addr), Options{})
	front := &recorder{Conn: m.dial().Conn}
	conn := tls.Client(front, &tls.Config{ServerName: "inner.test", NextProtos: []string{"teleport-x"}, InsecureSkipVerify: true})
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 4); conn.ConnectionState().NegotiatedProtocol != "teleport-x" {
		t.Errorf("ALPN %q", conn.ConnectionState().NegotiatedProtocol)
	} else if _, err := io.ReadFull(conn, b); err != nil || string(b) != "ping" {
		t.Fatalf("read %q, %v", b, err)
	}
	targetIn, targetOut := (<-target).both()
	frontIn, frontOut := front.both()
	if !bytes.Equal(targetIn, frontOut) || !bytes.Equal(targetOut, frontIn) {
		t.Errorf("the client sent %d bytes and got %d; the target got %d and sent %d: not the same", len(frontOut), len(frontIn), len(targetIn), len(targetOut))
	}
}

func TestNLB_TCP_02_OneTargetForLife(t *testing.T) {
	answers := func(id string) *stub {
		return sink(t, func(c *client) {
			for {
				if _, err := c.br.ReadByte(); err != nil {
					return
				}
				say(c, id)
			}
		})
	}
	m := start(t, throughTCP(answers("a").addr, answers("b").addr), Options{})
	seen := map[string]bool{}
	for range 64 {
		c := m.dial()
		var id string
		for range 3 {
			c.send("x")
			b, err := c.br.ReadByte()
			if err != nil {
				t.Fatal(err)
			}
			if id != "" && id != string(b) {
				t.Errorf("one connection had targets %s and %c", id, b)
			}
			id = string(b)
		}
		seen[id] = true
		c.Close()
	}
	if !seen["a"] || !seen["b"] {
		t.Errorf("64 connections went to %v only", seen)
	}
}

func TestFlowHashIsReplayable(t *testing.T) {
	local := netip.MustParseAddrPort("127.0.0.1:443")
	var counts [3]int
	differs := false
	for port := range uint16(3000) {
		peer := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 32768+port)
		h := flowHash(7, peer, local)
		if h != flowHash(7, peer, local) {
			t.Fatalf("two hashes of %v", peer)
		}
		differs = differs || h%3 != flowHash(8, peer, local)%3
		counts[h%3]++
	}
	for _, n := range counts {
		if n < 900 || n > 1100 {
			t.Errorf("3000 flows fall on %v", counts)
		}
	}
	if !differs {
		t.Error("the seed changes nothing")
	}
}

func TestNLB_PP_01_HeaderInFrontOfWhatTheClientSends(t *testing.T) {
	got := make(chan []byte, 1)
	at := sink(t, func(c *client) {
		b := make([]byte, 16+84+len("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello"))
		_, _ = io.ReadFull(c.br, b)
		got <- b
	})
	cfg := throughTCP(at.addr)
	cfg.TargetGroups[0].Attributes["proxy_protocol_v2.enabled"] = true
	m := start(t, cfg, Options{})
	c := m.from("127.0.0.2")
	c.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello")
	b := <-got
	want := proxyHeader(addrPort(c.LocalAddr()), addrPort(c.RemoteAddr()), "")
	if !bytes.HasPrefix(b, want) || string(b[len(want):]) != "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello" {
		t.Errorf("the target got %q", b)
	}
	if !bytes.Equal(b[16:20], []byte{127, 0, 0, 2}) || !bytes.Equal(b[20:24], []byte{127, 0, 0, 1}) {
		t.Errorf("addresses % x", b[16:28])
	}
}

// elt is a header caught at AWS: alb.md section 11.
const elt = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x54\xac\x1f\x07\x71\xac\x1f\x0a\x1f\xc8\xf2\x00\x50" +
	"\x03\x00\x04\xe8\xd6\x89\x2d\xea\x00\x17\x01vpce-08d2bf15fac5001c9\x04\x00\x24"

func TestNLB_PP_02_EndpointTLVForEndpointTrafficOnly(t *testing.T) {
	peer, local := netip.MustParseAddrPort("172.31.7.113:51442"), netip.MustParseAddrPort("172.31.10.31:80")
	if got, want := proxyHeader(peer, local, "vpce-08d2bf15fac5001c9"), elt+strings.Repeat("\x00", 36); string(got) != want {
		t.Errorf("header\n% x, want\n% x", got, want)
	}
	for _, endpoint := range []string{"", "vpce-0123456789abcdef0"} {
		got := make(chan []byte, 1)
		at := sink(t, func(c *client) {
			b := make([]byte, 16+84)
			_, _ = io.ReadFull(c.br, b)
			got <- b
		})
		cfg := throughTCP(at.addr)
		cfg.TargetGroups[0].Attributes["proxy_protocol_v2.enabled"] = true
		cfg.TargetGroups[0].VPCEndpointID = endpoint
		start(t, cfg, Options{}).dial()
		types := map[byte]string{}
		for b := (<-got)[28:]; len(b) > 3; {
			n := int(b[1])<<8 | int(b[2])
			types[b[0]] = string(b[3 : 3+n])
			b = b[3+n:]
		}
		if _, has := types[0xea]; has != (endpoint != "") || has && types[0xea] != "\x01"+endpoint {
			t.Errorf("endpoint %q: TLVs %q", endpoint, types)
		}
		if len(types[3]) != 4 || len(types[4]) == 0 {
			t.Errorf("endpoint %q: TLVs %q", endpoint, types)
		}
	}
}

func TestProxyHeaderOfIPv6(t *testing.T) {
	b := proxyHeader(netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2"), "")
	if b[13] != 0x21 || len(b) != 16+36+proxyTLVs || int(b[14])<<8|int(b[15]) != len(b)-16 {
		t.Errorf("header % x", b)
	}
}

func TestNLB_IP_01_WhoseAddressTheTargetSees(t *testing.T) {
	for _, one := range []struct {
		kind     string
		preserve any
		want     string
	}{
		{"", nil, "127.0.0.2"},
		{"instance", false, "127.0.0.1"},
		{"ip", nil, "127.0.0.1"},
		{"ip", "true", "127.0.0.2"},
		{"alb", nil, "127.0.0.2"},
	} {
		seen := make(chan string, 1)
		at := sink(t, func(c *client) {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			seen <- host
		})
		cfg := throughTCP(at.addr)
		cfg.TargetGroups[0].TargetType = one.kind
		if one.preserve != nil {
			cfg.TargetGroups[0].Attributes["preserve_client_ip.enabled"] = one.preserve
		}
		start(t, cfg, Options{}).from("127.0.0.2")
		if got := <-seen; got != one.want {
			t.Errorf("%q, preserve %v: the target saw %s, want %s", one.kind, one.preserve, got, one.want)
		}
	}
}

func TestNLB_ALB_01_TheALBSeesTheTrueClient(t *testing.T) {
	target := newStub(t, nil, ok)
	behind := start(t, plain(target.addr), Options{})
	cfg := throughTCP(behind.addr)
	cfg.TargetGroups[0].TargetType = "alb"
	c := start(t, cfg, Options{}).from("127.0.0.2")
	c.send(plainGet)
	if status, head, _ := c.response(); status != 200 {
		t.Errorf("got %q", head)
	}
	if head := target.head(t); fieldOf(head, "X-Forwarded-For") != "127.0.0.2" {
		t.Errorf("target got %q", head)
	}
}

func TestTCPHalfCloseCrosses(t *testing.T) {
	at := sink(t, func(c *client) {
		b, err := io.ReadAll(c.br)
		say(c, string(b)+" to the end")
		if err != nil {
			t.Errorf("the target saw %v", err)
		}
	})
	c := start(t, throughTCP(at.addr), Options{}).dial()
	c.send("read")
	shut(t, c.Conn.(*net.TCPConn))
	c.expect("read to the end")
	if _, err := c.br.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("behind it: %v, want EOF", err)
	}
}

func TestTCPResetsCrossAndAreCounted(t *testing.T) {
	ended := make(chan *client, 2)
	at := sink(t, func(c *client) {
		switch b, _ := c.br.ReadByte(); b {
		case 'r':
			reset(c.Conn)
		case 'w':
			say(c, "w")
			c.isReset()
			ended <- c
		}
	})
	m := start(t, throughTCP(at.addr), Options{})
	c := m.dial()
	c.send("r")
	c.isReset()
	c = m.dial()
	c.send("w")
	c.expect("w")
	reset(c.Conn)
	<-ended
	m.counted(map[string]int64{
		"NewFlowCount": 2, "NewFlowCount_TCP": 2, "ActiveFlowCount": 0, "ProcessedBytes": 3,
		"TCP_Client_Reset_Count": 1, "TCP_Target_Reset_Count": 1, "TCP_ELB_Reset_Count": 0,
	})
}

func TestTCPWithoutATargetIsReset(t *testing.T) {
	m := start(t, throughTCP(closedPort(t)), Options{})
	m.refused()
	m.counted(map[string]int64{"TCP_Target_Reset_Count": 1, "NewFlowCount": 0})
	m = start(t, throughTCP(), Options{})
	m.refused()
	m.counted(map[string]int64{"TCP_ELB_Reset_Count": 1, "NewFlowCount": 0})
}
