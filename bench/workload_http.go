package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

func init() {
	register(kind{
		name: "http", backend: "http",
		options: []option{
			{"variant", "h1, or h2", func(s *Shape) { setDefault(&s.Variant, "h1") }},
			{"streams", "1; more for h2", func(s *Shape) { setDefault(&s.Streams, 1) }},
		},
		check: func(s Shape) error {
			if s.Variant == "h1" && s.Streams != 1 {
				return optionErrorf("streams", "HTTP/1.1 has no streams: mode h2 has")
			}
			return errors.Join(oneOf("variant", s.Variant, "h1", "h2"))
		},
		make: func(s Shape) workload { return httpWorkload{h2: s.Variant == "h2", streams: s.Streams} },
	})
}

// httpWorkload asks for a page that says what it was asked, by HTTP/1.1 or by as many streams of HTTP/2 at once as the shape has. One
// request of the schedule is all of them.
type httpWorkload struct {
	h2      bool
	streams int
}

// maxPage bounds the answer, in bytes.
const maxPage = 64 << 10

func (w httpWorkload) Open(ctx context.Context, conn net.Conn, _ Access) (session, error) {
	s := &httpSession{conn: conn, name: newNonce(), streams: w.streams, proto: "HTTP/1.1"}
	if w.h2 {
		// Prior knowledge (RFC 9113, section 3.3): what is behind the router speaks without TLS, and without an upgrade of its own.
		t := &http.Transport{DialContext: once(conn), DisableCompression: true, Protocols: new(http.Protocols)}
		t.Protocols.SetUnencryptedHTTP2(true)
		c, err := t.NewClientConn(ctx, "http", "bench.example.test:80")
		if err != nil {
			return nil, fmt.Errorf("http: %w", err)
		}
		s.ask, s.proto = c.RoundTrip, "HTTP/2.0"
		return s, nil
	}
	in := bufio.NewReaderSize(conn, 4<<10)
	s.ask = func(r *http.Request) (*http.Response, error) {
		if err := r.Write(conn); err != nil {
			return nil, err
		}
		return http.ReadResponse(in, r)
	}
	return s, nil
}

type httpSession struct {
	conn    net.Conn
	ask     func(*http.Request) (*http.Response, error)
	name    string
	proto   string
	streams int
	seq     int
}

func (s *httpSession) Do(ctx context.Context) error {
	s.seq++
	if s.streams == 1 {
		return s.get(ctx, 0)
	}
	var wg sync.WaitGroup
	errs := make([]error, s.streams)
	for i := range errs {
		wg.Go(func() { errs[i] = s.get(ctx, i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// get asks for a path that nobody asked for before and wants it back: from this exchange, in this protocol.
func (s *httpSession) get(ctx context.Context, stream int) error {
	path := fmt.Sprintf("/%s/%d/%d", s.name, s.seq, stream)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bench.example.test"+path, nil)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	resp, err := s.ask(req)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // its error came from reading, or says nothing
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return fmt.Errorf("http: read the body: %w", err)
	}
	var seen struct{ Method, Path, Proto string }
	switch err := json.Unmarshal(body, &seen); {
	case resp.StatusCode != http.StatusOK || err != nil:
		return fmt.Errorf("http: %s, %.100q", resp.Status, body)
	case seen.Method != http.MethodGet || seen.Path != path || seen.Proto != s.proto:
		return fmt.Errorf("http: asked GET %s %s, and %s %s %s was answered", path, s.proto, seen.Method, seen.Path, seen.Proto)
	}
	return nil
}

func (s *httpSession) Close() error { return s.conn.Close() }
