// Package nodes is a name server for one name, on 127.0.0.1: it answers with the addresses that a load balancer has just now, so
// that who stands before it can be seen to resolve it again.
//
// It answers A over UDP (RFC 1035), one question a message, and knows no other name. Every message is bounded by 512 bytes.
package nodes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server that runs.
type DNS struct {
	name dnsmessage.Name
	ttl  uint32
	conn net.PacketConn
	done chan struct{}

	mu        sync.Mutex // guards what follows
	addresses []netip.Addr
	asked     int
}

// maxMessage is the bound of RFC 1035 section 2.3.4 for UDP.
const maxMessage = 512

// Serve starts a name server for a name without its last dot. ttl goes into the answers, in whole seconds.
func Serve(name string, ttl time.Duration, addresses []netip.Addr) (*DNS, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, fmt.Errorf("name server of %s: %w", name, err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("name server of %s: %w", name, err)
	}
	d := &DNS{name: n, ttl: uint32(ttl / time.Second), conn: conn, done: make(chan struct{}), addresses: addresses}
	go d.serve()
	return d, nil
}

// Addr is where it listens, host:port.
func (d *DNS) Addr() string { return d.conn.LocalAddr().String() }

// Set replaces the addresses.
func (d *DNS) Set(addresses []netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses = addresses
}

// Asked is how often the name's addresses were asked for.
func (d *DNS) Asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// Close ends the name server and waits for it.
func (d *DNS) Close() error {
	err := d.conn.Close()
	<-d.done
	return err
}

func (d *DNS) serve() {
	defer close(d.done)
	buf := make([]byte, maxMessage)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an answer that nobody waited for
		}
		if answer := d.answer(buf[:n]); answer != nil {
			_, _ = d.conn.WriteTo(answer, from) // who gets none asks again
		}
	}
}

// answer is nil for what is no query.
func (d *DNS) answer(query []byte) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil || header.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true, OpCode: header.OpCode, RecursionDesired: header.RecursionDesired,
		},
		Questions: []dnsmessage.Question{q},
	}
	switch {
	case !sameName(q.Name, d.name):
		reply.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		d.mu.Lock()
		d.asked++
		for _, a := range d.addresses {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: d.ttl},
				Body:   &dnsmessage.AResource{A: a.As4()},
			})
		}
		d.mu.Unlock()
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// sameName compares without regard to case (RFC 4343): resolvers mix it at random.
func sameName(a, b dnsmessage.Name) bool {
	if a.Length != b.Length {
		return false
	}
	for i := range int(a.Length) {
		if lower(a.Data[i]) != lower(b.Data[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
