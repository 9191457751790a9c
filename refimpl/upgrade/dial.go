package upgrade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// maxInformational bounds the 1xx answers in front of the one that counts.
const maxInformational = 5

// Dial makes one attempt with one token on conn. ctx bounds the attempt, not the tunnel; the deadlines of conn are cleared on
// every way out, and on an error conn is the caller's to close. An answer other than the 101 asked for is a *StatusError, which
// says whether conn may carry another attempt.
func Dial(ctx context.Context, conn net.Conn, opt ClientOptions) (tunnel net.Conn, err error) {
	t := lookup(opt.Type)
	if t == nil {
		return nil, fmt.Errorf("upgrade: unknown type %q", opt.Type)
	}
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	release := bound(ctx, conn, opt.Timeout)
	defer func() {
		cause := release()
		if cause == nil {
			return
		}
		if err == nil { // the 101 came, and nobody waits for it any more
			tunnel.Close()
			tunnel = nil
		}
		if _, ok := errors.AsType[*StatusError](err); !ok {
			err = fmt.Errorf("upgrade %s: %w", opt.Type, because(ctx, err))
		}
	}()

	request, check, err := buildRequest(t, conn, opt)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, fmt.Errorf("upgrade %s: write request: %w", t.Name(), err)
	}
	// The reader below is dropped after the answer, so what it has read ahead goes to the tunnel.
	br := bufio.NewReader(&cappedReader{r: conn, left: maxHeader + maxBody})
	resp, err := readResponse(br) //nolint:bodyclose // closing would read the body away behind our back; refusedWith reads what it may
	if err != nil {
		return nil, fmt.Errorf("upgrade %s: read answer: %w", t.Name(), err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, refusedWith(t.Name(), resp, br)
	}
	if got := resp.Header["Upgrade"]; len(got) != 1 || !hasToken(got, t.Name()) || strings.Contains(got[0], ",") {
		return nil, &StatusError{Status: resp.StatusCode, Type: t.Name(), Reason: fmt.Sprintf("switched to %q", got)}
	}
	if err := check(resp.Header); err != nil {
		return nil, &StatusError{Status: resp.StatusCode, Type: t.Name(), Reason: err.Error()}
	}
	return t.Client(conn, leftover(br), opt), nil
}

func buildRequest(t Type, conn net.Conn, opt ClientOptions) (string, func(http.Header) error, error) {
	host, path := opt.Host, opt.Path
	if host == "" {
		host = conn.RemoteAddr().String()
	}
	if path == "" {
		path = Path
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	for _, s := range []string{host, path, opt.UserAgent} {
		if strings.ContainsFunc(s, control) || s != opt.UserAgent && strings.Contains(s, " ") {
			return "", nil, fmt.Errorf("upgrade %s: %q does not fit into a request", t.Name(), s)
		}
	}
	fields, check := t.Offer(opt)
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, host)
	if opt.UserAgent != "" {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", opt.UserAgent)
	}
	fmt.Fprintf(&b, "Connection: Upgrade\r\nUpgrade: %s\r\n", t.Name())
	writeFields(&b, fields)
	b.WriteString("\r\n")
	return b.String(), check, nil
}

// readResponse skips informational answers other than the 101.
func readResponse(br *bufio.Reader) (*http.Response, error) {
	for range maxInformational {
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, errors.New("too many informational answers")
}

// refusedWith reads the body away so that the connection can be used again, and keeps its beginning as evidence. A body that
// lasts until the end of the connection is not waited for.
func refusedWith(name string, resp *http.Response, br *bufio.Reader) *StatusError {
	e := &StatusError{Status: resp.StatusCode, Type: name}
	whole := false
	body := io.LimitReader(resp.Body, 512)
	if resp.ContentLength >= 0 || slices.Contains(resp.TransferEncoding, "chunked") {
		excerpt, err := io.ReadAll(body)
		if err == nil {
			var rest int64
			rest, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
			whole = err == nil && rest < maxBody
		}
		e.Body = string(excerpt)
	} else {
		excerpt := make([]byte, 512)
		n, _ := body.Read(excerpt)
		e.Body = string(excerpt[:n])
	}
	e.Reusable = whole && !resp.Close && resp.ProtoAtLeast(1, 1) && br.Buffered() == 0
	e.Body = strings.ToValidUTF8(strings.TrimSpace(e.Body), "?")
	return e
}

// cappedReader fails behind left bytes.
type cappedReader struct {
	r    io.Reader
	left int
}

var errTooLong = errors.New("answer too long")

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errTooLong
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
