package albsim

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestManyClientsAtOnceKeepTheirBytesApart(t *testing.T) {
	cert := loadCert(t, makeCert(t, nil, "target"))
	target := newStub(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(c *client, head string) {
		if has(head, "Upgrade") {
			switching("", echo)(c, head)
			return
		}
		path := strings.Fields(head)[1]
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
	})
	target.heads = make(chan string, 10000)
	cfg := secure(t, target.addr)
	cfg.TargetGroups[0].Protocol = "HTTPS"
	m := start(t, cfg, Options{})
	one := func(id int) error {
		conn, err := tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"x"}})
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(4 * patience)); err != nil {
			return err
		}
		br := bufio.NewReader(conn)
		for i := range 10 {
			path := fmt.Sprintf("/client/%d/%d", id, i)
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
			if _, err := rawHead(br); err != nil {
				return err
			}
			b := make([]byte, len(path))
			if _, err := io.ReadFull(br, b); err != nil || string(b) != path {
				return fmt.Errorf("asked %s, got %q: %w", path, b, err)
			}
		}
		say(conn, upgradeRequest("alpn"))
		if _, err := rawHead(br); err != nil {
			return err
		}
		sent := make([]byte, 100<<10)
		rand.Read(sent)
		wrote := make(chan error, 1)
		go func() {
			_, err := conn.Write(sent)
			wrote <- err
		}()
		got := make([]byte, len(sent))
		_, err = io.ReadFull(br, got)
		if werr := <-wrote; err == nil {
			err = werr
		}
		if err == nil && string(got) != string(sent) {
			err = fmt.Errorf("client %d got other bytes back", id)
		}
		return err
	}
	var wg sync.WaitGroup
	for id := range 30 {
		wg.Go(func() {
			if err := one(id); err != nil {
				t.Errorf("client %d: %v", id, err)
			}
		})
	}
	wg.Wait()
}

// TestTenThousandConnectionsLeaveNothing has clients of every sort come and go, well-behaved and not.
func TestTenThousandConnectionsLeaveNothing(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		if has(head, "Upgrade") {
			switching("", echo)(c, head)
			return
		}
		ok(c, head)
	})
	target.heads = make(chan string, 10000)
	m := start(t, plain(target.addr), Options{})
	descriptors := func() int { return openDescriptors(t) }
	before, goroutines := descriptors(), runtime.NumGoroutine()
	one := func(i int) error {
		// Several addresses: a port stays taken for a minute behind the end of its connection.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}}
		conn, err := dialer.Dial("tcp", m.addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(4 * patience)); err != nil {
			return err
		}
		switch br := bufio.NewReader(conn); i % 5 {
		case 0:
			say(conn, plainGet)
			_, err = rawHead(br)
		case 1:
			say(conn, "GET / HTTP/1.1\r\nHo")
		case 2:
			say(conn, "\x16\x03\x01 or whatever this is\r\n\r\n")
			_, err = io.Copy(io.Discard, br)
		case 3: // nothing at all
		case 4:
			say(conn, upgradeRequest("alpn")+"ping")
			if _, err = rawHead(br); err == nil {
				_, err = io.ReadFull(br, make([]byte, 4))
			}
		}
		return err
	}
	var wg sync.WaitGroup
	const workers, each = 20, 500
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := one(w + i); err != nil {
					t.Errorf("client %d of %d: %v", i, w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	// What is left are idle connections to the target, in the pool.
	kept := func() int { return int(m.Metrics()["ActiveConnectionCount"]) }
	deadline := time.Now().Add(2 * patience)
	for kept() > workers || descriptors() > before+2*kept() || runtime.NumGoroutine() > goroutines+3*workers {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections, %d descriptors after %d, %d goroutines after %d",
				kept(), descriptors(), before, runtime.NumGoroutine(), goroutines)
		}
		<-time.After(10 * time.Millisecond)
	}
	if n := m.Metrics()["NewConnectionCount"]; n < workers*each {
		t.Errorf("%d connections were counted", n)
	}
}
