package checks

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Outcomes of the checks of names.
const (
	keptAway conformance.Outcome = "kept-away"
	proxies  conformance.Outcome = "open-proxy"
	escaped  conformance.Outcome = "escaped"
	rawBytes conformance.Outcome = "raw-control-bytes"
	newLine  conformance.Outcome = "forged-line"
)

func init() {
	alpaca := result.Clause{Doc: "ALPACA: How to mitigate", Section: "ALPN for servers", URL: "https://alpaca-attack.com/libs.html"}
	register := func(c conformance.Check) {
		c.Role, c.Control = conformance.Router, opens("a")
		c.Features = append([]string{"terminate"}, c.Features...)
		c.Timeout = 30 * time.Second
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "SEC-07", Slug: "alpaca", Tags: []string{conformance.Counts}, Level: conformance.Should, Origin: conformance.RFC, Transports: everywhere,
		Title: "HTTP under another name or ALPN never reaches a backend that speaks something else",
		Why: "One certificate covers many names. Who is in the path of a browser can lead its HTTPS to the port of a database or a mail server under " +
			"such a name, and what that answers runs in the browser. ALPN and SNI are there to stop it, if the router insists on them.",
		Clauses: clauses(rfc(7301, "3.2"), alpaca), Run: crossProtocol,
		Accept: pass("refused, or answered by the router itself; no backend is dialled", keptAway),
		Forbid: map[conformance.Outcome]string{served: "a backend got the request of a browser", conformance.Dialled: "a backend was dialled for the request of a browser"},
	})
	register(conformance.Check{
		ID: "SEC-08", Slug: "open-proxy", Level: conformance.Must, Origin: conformance.Policy, Transports: everywhere, Tags: []string{conformance.RawHTTP, conformance.Counts},
		Title: "A name that a client sends is never an address to dial",
		Why: "A router that dials what the SNI or Host says is an open proxy into the network it stands in: the metadata service of the cloud, with " +
			"its credentials, is one hostname away.",
		Clauses: clauses(policy("section 5, routes name their backends")), Run: openProxy,
		Accept: pass("no such name is dialled", keptAway),
		Forbid: map[conformance.Outcome]string{proxies: "the router dialled an address that only the client named", conformance.Dialled: "a backend was dialled for a name that no route has"},
	})
	register(conformance.Check{
		ID: "SEC-09", Slug: "log-safety", Level: conformance.Must, Origin: conformance.Policy, Transports: everywhere, Setup: onItsOwn("log-safety"),
		Title: "Control bytes of names and headers reach neither the log nor the labels of metrics",
		Why: "A name with a line feed writes a log line of the attacker's own; one with an escape sequence speaks to the terminal of whoever reads it. " +
			"Both come before any authentication.",
		Clauses: clauses(policy("section 5, logs")), Run: logSafety,
		Accept: pass("every control byte is escaped, or the name left out", escaped),
		Forbid: map[conformance.Outcome]string{rawBytes: "a control byte of the client's stands in the log", newLine: "the client wrote a line of its own"},
	})
}

// crossProtocol sends what a browser that was led astray would: HTTP for names of other services.
func crossProtocol(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var list []attempt
	for _, label := range []string{"b", "x.wild", "mtls"} {
		for _, alpn := range [][]string{{"http/1.1"}, {"h2", "http/1.1"}, {"http/1.0"}} {
			list = append(list, attempt{t.Name(label), alpn})
		}
	}
	for _, sni := range []string{t.Target.Fixture.Own, t.Name("nobody-has-this-name")} {
		list = append(list, attempt{sni, []string{"h2", "http/1.1"}})
	}
	before := t.Accepted()
	refusals, own := 0, 0
	for _, a := range list {
		stream, err := t.Stream(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		conn, err := t.TLS(ctx, stream, unknown(a.sni, a.alpn...))
		if err != nil {
			if o := t.Outcome(err); !isRefusal(o) {
				return conformance.Observation{Outcome: o, Detail: fmt.Sprintf("name %q, ALPN %q: %v", a.sni, a.alpn, err)}, nil
			}
			refusals++
			stream.Close()
			continue
		}
		own++
		if conn.ConnectionState().NegotiatedProtocol != "h2" {
			_ = bounded(t, conn, []byte("GET / HTTP/1.1\r\nHost: "+a.sni+"\r\n\r\n"))
			_, _, _ = wire.ReadResponse(conn) // whoever answers: the witnesses know whether it was one of them
		}
		stream.Close()
		if t.Accepted() != before {
			break
		}
	}
	return undialled(ctx, t, before, conformance.Observation{
		Outcome: keptAway, Detail: fmt.Sprintf("%d connections: %d refused, %d ended at the router itself", len(list), refusals, own),
	}), nil
}

// bait is a listener that nobody but the client has named.
type bait struct {
	addresses []string
	taken     atomic.Int64
	listeners []net.Listener
	accepting sync.WaitGroup
}

func (b *bait) end() {
	for _, ln := range b.listeners {
		_ = ln.Close()
	}
	b.accepting.Wait()
}

// lay listens on a port of its own and, where nobody does yet, on the router's own port of another address: that is where a router
// that dials names at its own port would turn up.
func lay(ctx context.Context, t *conformance.T) (*bait, error) {
	b := &bait{}
	ln, err := t.Listen(ctx)
	if err != nil {
		return nil, err
	}
	b.listeners = []net.Listener{ln}
	if _, port, err := net.SplitHostPort(t.Path.Address); err == nil {
		if same, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port)); err == nil {
			b.listeners = append(b.listeners, same)
		}
	}
	for _, ln := range b.listeners {
		b.addresses = append(b.addresses, ln.Addr().String())
		b.accepting.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				b.taken.Add(1)
				_ = c.Close()
			}
		})
	}
	return b, nil
}

// openProxy names the bait, and hosts that no router has business with, as SNI, as Host and as what to CONNECT to. The hosts of a cloud's
// metadata are only named: this side never dials them.
func openProxy(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	b, err := lay(ctx, t)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer b.end()
	names := []string{"127.0.0.2"}
	for _, address := range b.addresses {
		_, port, _ := net.SplitHostPort(address)
		names = append(names, address, "localhost:"+port, "localhost.:"+port)
	}
	names = append(names, "localhost", "127.0.0.1", "169.254.169.254", "metadata.google.internal", "instance-data.ec2.internal")
	before, tried := t.Accepted(), 0
	for _, name := range names {
		if b.taken.Load() > 0 {
			break
		}
		for _, alpn := range [][]string{nil, {"trb-a"}, {"http/1.1"}} {
			tried++
			_, err := answer(ctx, t, wire.Records(wire.NewHello(wire.HelloOptions{SNI: name, ALPN: alpn}))[0])
			if o := t.Outcome(err); o == conformance.Timeout && b.taken.Load() == 0 {
				return conformance.Observation{Outcome: o, Detail: fmt.Sprintf("SNI %q, ALPN %q: %v", name, alpn, err)}, nil
			}
		}
		if t.Path.Upgrade == nil {
			continue
		}
		for _, raw := range []string{
			"CONNECT " + name + " HTTP/1.1\r\nHost: " + name + "\r\n\r\n",
			"GET http://" + name + "/ HTTP/1.1\r\nHost: " + name + "\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: " + name + "\r\n\r\n",
		} {
			tried++
			_, rest, err := exchange(ctx, t, raw)
			if err == nil {
				rest.Close()
			}
		}
	}
	o := undialled(ctx, t, before, conformance.Observation{Outcome: keptAway, Detail: fmt.Sprintf("%d attempts; bait on %s", tried, strings.Join(b.addresses, " and "))})
	if n := b.taken.Load(); n > 0 {
		return conformance.Observation{Outcome: proxies, Detail: fmt.Sprintf("%d connections arrived at %s", n, strings.Join(b.addresses, " or "))}, nil
	}
	return o, nil
}

// logSafety sends names and headers with control bytes and reads the log, and the metrics where there are any.
func logSafety(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	mark := "forged-" + strings.ReplaceAll(t.NewNonce(), "-", "x")
	sent := 0
	for _, evil := range []string{"\n" + mark + " level=error", "\r\n" + mark, "\x1b[31m" + mark, "\x00" + mark, "\x7f" + mark, "\x08" + mark, mark + "\"} 1\n" + mark} {
		for _, h := range []wire.HelloOptions{
			{SNI: "a" + evil, ALPN: []string{"trb-a"}}, {SNI: t.Name("a"), ALPN: []string{"trb-a" + evil}}, {SNI: t.Name("x") + evil, ALPN: []string{"trb" + evil}},
		} {
			sent++
			_, _ = answer(ctx, t, wire.Records(wire.NewHello(h))[0]) // whatever it is
		}
		if t.Path.Upgrade != nil {
			for _, raw := range []string{"GET /" + evil + " HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x" + evil + "\r\nX-Forwarded-For: " + evil + "\r\n\r\n"} {
				sent++
				if _, rest, err := exchange(ctx, t, raw); err == nil {
					rest.Close()
				}
			}
		}
	}
	pause(ctx, t.Silence()) // a connection is logged when it is over
	log, err := t.Instance.Logs(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	o := controlled("the log", log, mark)
	detail := fmt.Sprintf("%d connections; the log has %d lines, %d of them with the mark", sent, strings.Count(log, "\n"), marked(log, mark))
	if t.Instance.Admin() != "" {
		metrics, err := scrape(ctx, t)
		if err != nil {
			return conformance.Observation{}, err
		}
		o = worst(t, []conformance.Observation{o, controlled("the metrics", metrics, mark)})
		detail += fmt.Sprintf("; the metrics have %d lines", strings.Count(metrics, "\n"))
	}
	if o.Outcome == escaped {
		o.Detail = detail
	}
	return o, nil
}

func marked(text, mark string) (n int) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, mark) {
			n++
		}
	}
	return n
}

// controlled looks for what a client's control bytes would have done to lines of text.
func controlled(what, text, mark string) conformance.Observation {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, mark):
			return conformance.Observation{Outcome: newLine, Detail: fmt.Sprintf("%s: %.120q", what, line)}
		case strings.Contains(line, mark) && strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			return conformance.Observation{Outcome: rawBytes, Detail: fmt.Sprintf("%s: %.120q", what, line)}
		}
	}
	return conformance.Observation{Outcome: escaped}
}

// mostMetrics bounds what an admin port may answer.
const mostMetrics = 4 << 20

// scrape reads the metrics of the admin port; none (404) is the empty text.
func scrape(ctx context.Context, t *conformance.T) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Wait())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.Instance.Admin()+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("reading the metrics: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostMetrics))
	if resp.StatusCode == http.StatusNotFound {
		return "", err
	}
	return string(body), err
}
