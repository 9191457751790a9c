package albsim

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
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
