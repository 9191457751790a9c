package albsim

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"
)

// overBoth is a document with TLS on either hop, before a target that serves so.
func overBoth(t *testing.T, serve func(c *client, head string)) Config {
	target := newStub(t, &tls.Config{Certificates: []tls.Certificate{loadCert(t, makeCert(t, nil, "target"))}}, serve)
	cfg := secure(t, target.addr)
	cfg.TargetGroups[0].Protocol = "HTTPS"
	return cfg
}

// tunnelThrough opens one with that fault in it, whose place is counted from the tunnel's first byte of the direction.
func tunnelThrough(t *testing.T, fault Injection, serve func(c *client)) (*client, *recorder) {
	t.Helper()
	cfg := overBoth(t, switching("x", serve))
	open := func() (*client, *recorder, string) {
		wire := &recorder{Conn: start(t, cfg, Options{}).dial().Conn}
		c := newClient(t, tls.Client(wire, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})) // its alerts can be told
		c.send(upgradeRequest("alpn"))
		head := c.head()
		c.expect("x")
		return c, wire, head
	}
	if fault.Direction == "down" {
		c, _, head := open()
		c.Close()
		fault.AtByte += int64(len(head) + len("x"))
	} else {
		fault.AtByte += int64(len(upgradeRequest("alpn")))
	}
	fault.Layer, fault.Hop = plaintext, "client"
	cfg.Faults = []Injection{fault}
	c, wire, _ := open()
	return c, wire
}

// afterAByte is a target that says something once the client has, and tells how the tunnel ended.
func afterAByte(text string, ended chan<- error) func(c *client) {
	return func(c *client) {
		if _, err := c.br.ReadByte(); err != nil {
			return
		}
		say(c, text)
		_, err := io.Copy(io.Discard, c.br)
		ended <- err
	}
}

func TestPlaintextIsTruncatedAtItsByteWithACloseNotify(t *testing.T) {
	const long = "0123456789 and so on"
	ended := make(chan error, 2)
	c, wire := tunnelThrough(t, Injection{Kind: "truncate", Direction: "down", AtByte: 7}, afterAByte(long, ended))
	c.send("?")
	if b, err := io.ReadAll(c.br); string(b) != long[:7] || err != nil {
		t.Errorf("the client got %q, %v; want seven bytes and a clean end", b, err)
	}
	in, _ := wire.both()
	last := byte(0)
	for len(in) >= 5 {
		last, in = in[0], in[5+int(in[3])<<8+int(in[4]):]
	}
	if last != 21 { // an alert; crypto/tls takes an end without one for clean where a record ends
		t.Errorf("the last record is of type %d, want close_notify", last)
	}
	if err := <-ended; timedOut(err) { // any end will do: the balancer could not go on with what the target said
		t.Error("the target is still there")
	}
}

func TestPlaintextOfATargetIsTruncated(t *testing.T) {
	cfg := overBoth(t, ok)
	cfg.Faults = []Injection{{Kind: "truncate", Hop: "target", Layer: plaintext, Direction: "down", AtByte: 12}}
	m := start(t, cfg, Options{})
	c, _ := m.dialTLS(&tls.Config{})
	c.send(plainGet)
	if status, head, _ := c.response(); status != 502 {
		t.Errorf("a head cut short: got %q", head)
	}
}

func TestPlaintextOfOneDirectionIsHalfClosed(t *testing.T) {
	got := make(chan string, 1)
	c, _ := tunnelThrough(t, Injection{Kind: "half-close", Direction: "up", AtByte: 4}, func(c *client) {
		b, err := io.ReadAll(c.br)
		if err != nil {
			t.Errorf("the target saw %v, want a clean end", err)
		}
		got <- string(b)
		say(c, "still here")
	})
	c.send("some more")
	if b := <-got; b != "some" {
		t.Errorf("the target got %q", b)
	}
	c.expect("still here")
}

func TestPlaintextIsSplitIntoRecords(t *testing.T) {
	const long = 2000
	ended := make(chan error, 2)
	split := Injection{Kind: "split", Direction: "down", Bytes: 16, Seed: 3}
	c, _ := tunnelThrough(t, split, afterAByte(strings.Repeat("y", long), ended))
	c.send("?")
	b := make([]byte, 4096)
	reads := 0
	for got := 0; got < long; reads++ {
		n, err := c.Conn.Read(b) // one record at most
		if err != nil || n > 16 {
			t.Fatalf("a record of %d bytes, %v; want 16 at most", n, err)
		}
		got += n
	}
	if reads < long/16 || reads == long {
		t.Errorf("%d records of %d bytes", reads, long)
	}
}

func TestPlaintextResetReachesBothEnds(t *testing.T) {
	ended := make(chan error, 1)
	c, _ := tunnelThrough(t, Injection{Kind: "reset", Direction: "up", AtByte: 3}, func(c *client) {
		_, err := io.Copy(io.Discard, c.br)
		ended <- err
	})
	c.send("abcdef")
	if _, err := c.br.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v, want a reset", err)
	}
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target saw %v, want a reset", err)
	}
}

func TestPlaintextFaultsOfADocumentBeginBehindTheHandshake(t *testing.T) {
	for _, layer := range []string{plaintext, ""} {
		cfg := overBoth(t, ok)
		cfg.Faults = []Injection{{Kind: "truncate", Hop: "client", Layer: layer, Direction: "down", AtByte: 12}}
		conn, err := tls.Dial("tcp", start(t, cfg, Options{}).addr, &tls.Config{InsecureSkipVerify: true})
		if layer == "" {
			if err == nil {
				t.Error("on the wire twelve bytes are less than a handshake, which is over")
				conn.Close()
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		c.send(plainGet)
		if b, err := io.ReadAll(c.br); string(b) != "HTTP/1.1 200" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	}
}

func TestPlaintextFaultsOnAHopWithoutTLSAreTheWires(t *testing.T) {
	target := newStub(t, nil, ok)
	cfg := plain(target.addr)
	cfg.Faults = []Injection{{Kind: "truncate", Hop: "client", Layer: plaintext, Direction: "down", AtByte: 12}}
	c := start(t, cfg, Options{}).dial()
	c.send(plainGet)
	if b, err := io.ReadAll(c.br); string(b) != "HTTP/1.1 200" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestPlaintextFaultsGetAtFramesOfH2(t *testing.T) {
	cfg := overBoth(t, ok)
	const head = 9 + 6*5 // more than the frame of SETTINGS has
	cfg.Faults = []Injection{{Kind: "truncate", Hop: "client", Layer: plaintext, Direction: "down", AtByte: 9}}
	c, _ := start(t, cfg, Options{}).dialTLS(&tls.Config{NextProtos: []string{"h2"}})
	c.send(http2.ClientPreface)
	b, err := io.ReadAll(io.LimitReader(c.br, head))
	if len(b) != 9 || b[3] != byte(http2.FrameSettings) || err != nil {
		t.Errorf("got % x, %v; want the head of SETTINGS alone", b, err)
	}
}

func TestPlaintextFaultsGetAtFlowsOfANetworkLoadBalancer(t *testing.T) {
	cfg := throughTLS(t, "None", repeat(t).addr)
	cfg.Faults = []Injection{{Kind: "half-close", Hop: "client", Layer: plaintext, Direction: "up", AtByte: 4}}
	c, _ := start(t, cfg, Options{}).dialTLS(&tls.Config{})
	c.send("echo this")
	if b, err := io.ReadAll(c.br); string(b) != "echo" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestLayersAreChecked(t *testing.T) {
	for _, i := range []Injection{
		{Kind: "stall", Hop: "client", Layer: "record"},
		{Kind: "target-death", Hop: "target", Target: "127.0.0.1:1", Layer: plaintext},
	} {
		if faults := i.Check(); len(faults) != 1 || faults[0].Path != "fault.layer" {
			t.Errorf("%v: %v", i, faults)
		}
	}
	if faults := (Injection{Kind: "stall", Hop: "client", Layer: "wire"}).Check(); faults != nil {
		t.Error(faults)
	}
}
