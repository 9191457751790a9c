package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/sourceaddr"
	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// keepAlive is how long the HTTP endpoint waits for another request. A target must keep its connections longer than the load
// balancer in front of it (60 s on an AWS ALB), or requests cross with the FIN and come back as 502.
const keepAlive = 2 * time.Minute

// usualHeader is room for the header of most requests; a longer one moves to a buffer of limits.header_bytes.
const usualHeader = 4 << 10

// http serves requests until one of them turns conn into a tunnel. Whatever is said here, the upgrade path is all there is.
func (c *session) http(conn net.Conn, depth int) {
	c.end(outcomeHTTP, "no upgrade asked for")
	conn = splice.Prepare(conn) // a tunnel's keep-alive will write on its own
	br := bufio.NewReaderSize(conn, min(usualHeader, c.policy.config.Limits.HeaderBytes))
	for served := 0; ; served++ {
		if !c.await(conn, br, served) {
			return
		}
		var req *http.Request
		var err error
		br, req, err = c.request(conn, br)
		if err != nil {
			c.refuse(conn, err)
			return
		}
		if depth == 0 && !c.forwarded(req) {
			c.sayLast(conn, req, http.StatusTooManyRequests, "too many connections from this address\n")
			return
		}
		if req.URL.Path != c.policy.config.Upgrade.Path || len(c.policy.config.Upgrade.Types) == 0 {
			last := req.Close || !req.ProtoAtLeast(1, 1) || req.ContentLength != 0 || c.server.isDraining()
			if c.answer(conn, req, http.StatusNotFound, last, "nothing here but the upgrade path\n") != nil || last {
				linger(conn)
				return
			}
			continue
		}
		if depth == maxDepth {
			c.end(outcomeDepth, fmt.Sprintf("more than %d upgrades inside each other", maxDepth))
			c.sayLast(conn, req, http.StatusLoopDetected, "too many upgrades inside each other\n")
			return
		}
		tunnel, typ, err := upgrade.Accept(c.server.cutCtx, conn, br, req, upgrade.ServerOptions{
			Types:             c.policy.config.Upgrade.Types,
			PingInterval:      time.Duration(c.policy.config.Upgrade.PingInterval),
			PongTimeout:       time.Duration(c.policy.config.Upgrade.PongTimeout),
			RequireConnection: c.policy.config.Upgrade.RequireConnection,
			Timeout:           c.timeout(),
		})
		if err != nil {
			c.end(outcomeRefused, err.Error())
			linger(conn)
			return
		}
		c.upgrades = append(c.upgrades, typ)
		c.server.stats.upgraded(typ)
		c.handle(tunnel, depth+1)
		return
	}
}

// await waits for the first byte of a request. While none comes, draining may end the wait, except for the first request.
func (c *session) await(conn net.Conn, br *bufio.Reader, served int) bool {
	if br.Buffered() > 0 {
		return true
	}
	wait := keepAlive
	if served == 0 {
		wait = c.timeout()
	}
	conn.SetReadDeadline(time.Now().Add(wait))
	if served > 0 {
		done := make(chan struct{})
		stop := context.AfterFunc(c.server.drainCtx, func() {
			defer close(done)
			conn.SetReadDeadline(time.Unix(1, 0))
		})
		defer func() {
			if !stop() {
				<-done // so that it does not undo the next deadline
			}
		}()
	}
	_, err := br.Peek(1)
	return err == nil
}

// request reads one request whose first byte has come. The reader it returns holds what follows the header.
func (c *session) request(conn net.Conn, br *bufio.Reader) (*bufio.Reader, *http.Request, error) {
	conn.SetReadDeadline(time.Now().Add(c.timeout()))
	defer conn.SetReadDeadline(time.Time{})
	limit := c.policy.config.Limits.HeaderBytes
	tooLong := &badRequest{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("header does not end within %d bytes", limit)}
	for seen, empty := 0, 0; ; {
		block, _ := br.Peek(br.Buffered())
		if n := emptyLines(block); n > 0 {
			if empty += n; empty > limit {
				return br, nil, tooLong
			}
			_, _ = br.Discard(n) // they are buffered
			continue
		}
		if end := headerEnd(block); end > 0 {
			if err := checkHeader(block[:end]); err != nil {
				return br, nil, err
			}
			req, err := http.ReadRequest(br)
			if err != nil {
				return br, nil, &badRequest{http.StatusBadRequest, err.Error()}
			}
			return br, req, nil
		}
		seen = len(block)
		if seen >= limit {
			return br, nil, tooLong
		}
		if seen == br.Size() { // full, and more is allowed
			br = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(block)), conn), limit)
		}
		// Asks for one byte more than there is; the reader takes whatever comes with it.
		if _, err := br.Peek(seen + 1); err != nil && br.Buffered() <= seen {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = &badRequest{http.StatusRequestTimeout, "header did not end in time"}
			}
			return br, nil, err
		}
	}
}

// forwarded takes the source address from X-Forwarded-For where the peer is trusted with it, and counts the connection under it.
// It is asked at outermost requests only: inside a tunnel the address is known and the header would be the client's word.
func (c *session) forwarded(req *http.Request) bool {
	hop := c.hop.Addr() // not c.source: a kept-alive connection of a load balancer carries the requests of many clients
	c.source = c.hop
	if sourceaddr.Trusted(hop, c.policy.forwarders) {
		addr := sourceaddr.FromXFF(hop, req.Header.Values("X-Forwarded-For"), c.policy.forwarders)
		if addr.IsValid() && addr.Unmap() != hop {
			c.source = netip.AddrPortFrom(addr.Unmap(), 0)
		}
	}
	return c.countAs(c.source.Addr())
}

// refuse answers a request that could not be read, if there is anybody to answer.
func (c *session) refuse(conn net.Conn, err error) {
	c.end(outcomeHTTP, err.Error())
	bad := new(badRequest)
	if !errors.As(err, &bad) {
		return // the connection is gone
	}
	c.sayLast(conn, nil, bad.status, bad.reason+"\n")
}

// sayLast answers and ends the connection, which the caller closes.
func (c *session) sayLast(conn net.Conn, req *http.Request, status int, body string) {
	if c.answer(conn, req, status, true, body) == nil {
		linger(conn)
	}
}

// answer writes a whole response.
func (c *session) answer(conn net.Conn, req *http.Request, status int, last bool, body string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat))
	if last {
		b.WriteString("Connection: close\r\n")
	}
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n", len(body))
	if req == nil || req.Method != http.MethodHead {
		b.WriteString(body)
	}
	conn.SetWriteDeadline(time.Now().Add(c.timeout()))
	defer conn.SetWriteDeadline(time.Time{})
	_, err := conn.Write(b.Bytes())
	return err
}
