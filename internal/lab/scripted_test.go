package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a target that does what the path of a request says.
type scripted struct {
	ln net.Listener
	at atomic.Pointer[noticed]
}

// noticed is what the target has seen of the requests of one observation.
type noticed struct {
	heads chan string
	ends  chan error // how tunnels and unanswered requests ended
}

const (
	frontName = "front.example.test"
	soundKey  = "dGhlIHNhbXBsZSBub25jZQ=="
	tunnelEnd = "bye"
	shortIdle = time.Second
)

func newScripted(t *testing.T) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{ln: ln}
	s.forget()
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			ended := make(chan struct{})
			t.Cleanup(func() { conn.Close(); <-ended })
			go func() {
				defer close(ended)
				defer conn.Close()
				s.serve(conn)
			}()
		}
	}()
	return s
}

// forget begins anew: what is still to come of earlier requests is not of the next observation.
func (s *scripted) forget() { s.at.Store(&noticed{make(chan string, 16), make(chan error, 16)}) }

func (s *scripted) serve(conn net.Conn) {
	br := bufio.NewReader(conn)
	for {
		conn.SetDeadline(time.Now().Add(7 * shortIdle))
		req, head, err := readRequestHead(br)
		if err != nil {
			return
		}
		at := s.at.Load()
		at.heads <- head
		body, _ := io.ReadAll(io.LimitReader(br, max(0, req.ContentLength)))
		switch word := strings.Split(strings.TrimPrefix(req.URL.Path, "/"), "/"); word[0] {
		case "switch": // /switch/<token>/<accept>
			answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + word[1] + "\r\n"
			if len(word) > 2 {
				answer += "Sec-WebSocket-Accept: " + word[2] + "\r\n"
			}
			say(conn, answer+"\r\n")
			_, err := io.Copy(conn, br)
			at.ends <- err
			say(conn, tunnelEnd)
			return
		case "chatter": // says a byte each tenth of the idle time
			say(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+req.Header.Get("Upgrade")+"\r\n\r\n")
			at.ends <- chatter(conn, shortIdle/10)
			return
		case "sink": // takes what comes, for three times the idle time
			say(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+req.Header.Get("Upgrade")+"\r\n\r\n")
			conn.SetDeadline(time.Now().Add(3 * shortIdle))
			_, _ = io.Copy(io.Discard, br)
			return
		case "silent":
			_, err := br.ReadByte()
			at.ends <- err
			return
		case "hints":
			say(conn, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
			fallthrough
		default:
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}
}

func say(w io.Writer, s string) { _, _ = io.WriteString(w, s) } // to one that may have gone: what matters is read elsewhere

// chatter writes a byte again and again, until that fails or for three times the idle timeout.
func chatter(w io.Writer, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(3 * shortIdle); time.Now().Before(end); <-tick.C {
		if _, err := io.WriteString(w, "."); err != nil {
			return err
		}
	}
	return nil
}

// readRequestHead reads a head and keeps it as it came.
func readRequestHead(br *bufio.Reader) (*http.Request, string, error) {
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := br.ReadString('\n')
		if err != nil {
			return nil, "", err
		}
		b.WriteString(line)
	}
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(b.String())))
	return req, b.String(), err
}
