package checks

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Outcomes of the checks of what forwards HTTP.
const (
	oneReading  conformance.Outcome = "one-reading"
	twoReadings conformance.Outcome = "two-readings"
	parted      conformance.Outcome = "closed-behind" // read in two ways, but nothing can follow it
	miscounted  conformance.Outcome = "miscounted"    // the target saw more requests than the client was answered
	blocked     conformance.Outcome = "blocked"
	tunnels     conformance.Outcome = "tunnelled"
)

func init() {
	kemal := result.Clause{Doc: "kemalcr/kemal pull request 767", URL: "https://github.com/kemalcr/kemal/pull/767"}
	register := func(c conformance.Check) {
		c.Role, c.Origin, c.Level, c.Control = conformance.LoadBalancer, conformance.Policy, conformance.Must, carries
		c.Timeout = 60 * time.Second
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "SEC-01", Slug: "smuggling",
		Title: "What reaches the target has one reading, and the target sees no request that the client was not answered",
		Why: "Where two hops disagree about the end of a request, the rest of it is a request of the attacker's that the first hop never saw: it " +
			"passes every rule there is at the edge, and its answer may go to somebody else.",
		Clauses: clauses(rfc(9112, "6.3"), rfc(9112, "11.2"), policy("section 7, the group SEC")),
		Accept: append(pass("refused, or forwarded in a form in which every reader counts the same requests", oneReading),
			tolerate("AWS, Application Load Balancers: desync mitigation mode, defensive: an ambiguous request is routed and both connections are closed", parted)...),
		Run: smuggling,
		Forbid: map[conformance.Outcome]string{
			twoReadings: "readers count other requests in what reached the target, on a connection that was kept", miscounted: "the target saw requests that the client was not answered",
		},
	})
	register(conformance.Check{
		ID: "SEC-02", Slug: "ws-smuggling",
		Title: "An upgrade that the target has refused opens no tunnel",
		Why: "A proxy that takes the wish for an upgrade for the upgrade passes everything behind it on unseen. A bad version or a bad Origin is then " +
			"all it takes to reach any path of the target, past every rule of the proxy.",
		Clauses: clauses(rfc(9110, "7.8"), kemal),
		Accept:  pass("no byte behind the refused upgrade reaches the target as it was", blocked), Run: fakeUpgrades,
		Forbid: map[conformance.Outcome]string{tunnels: "bytes behind the refusal reached the target as if there had been a 101"},
	})
}

// covert is the request that only a wrong reading sees.
const covert = "GET /hidden HTTP/1.1\r\nHost: hidden.example.test\r\nX-Ignore: x"

// corpus are requests, and what is put behind their headers. The first two are good.
func corpus() []offer {
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(covert), covert)
	early := "0\r\n\r\n" + covert + "\r\n\r\n"
	of := func(name, fields, body string) offer { return offer{name, fields + "\r\n\r\n" + body} }
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
	const te = "Transfer-Encoding: chunked"
	return []offer{
		of("a length", length(len(covert)), covert),
		of("chunks", te, chunk),
		of("length and chunks", length(len(early))+"\r\n"+te, early),
		of("chunks and a short length", te+"\r\n"+length(4), chunk),
		of("two lengths", length(0)+"\r\n"+length(len(covert)+4), covert+"\r\n\r\n"),
		of("a list of lengths", fmt.Sprintf("Content-Length: 0, %d", len(covert)+4), covert+"\r\n\r\n"),
		of("a length with a sign", fmt.Sprintf("Content-Length: +%d", len(covert)+4), covert+"\r\n\r\n"),
		of("a coding nobody knows", length(len(early))+"\r\nTransfer-Encoding: xchunked", early),
		of("chunked twice", te+"\r\n"+te+"\r\n"+length(4), chunk),
		of("chunked not last", "Transfer-Encoding: chunked, identity\r\n"+length(len(early)), early),
		of("a tab before the value", "Transfer-Encoding:\tchunked\r\n"+length(len(early)), early),
		of("a vertical tab before the value", "Transfer-Encoding: \x0bchunked\r\n"+length(len(early)), early),
		of("a blank before the colon", "Transfer-Encoding : chunked\r\n"+length(len(early)), early),
		of("an underscore in the name", "Transfer_Encoding: chunked\r\n"+length(len(early)), early),
		of("a folded line", "X-Folded: x\r\n "+te+"\r\n"+length(len(early)), early),
		of("a bare LF before the field", "X-Bare: x\n"+te+"\r\n"+length(len(early)), early),
		of("a chunk size with a prefix", te, "0x0\r\n\r\n"+covert+"\r\n\r\n"),
		of("a chunk size with an LF", te, "0\n\n"+covert+"\r\n\r\n"),
		of("a chunk extension with an LF", te, "5;x\n12345\r\n0\r\n\r\n"),
	}
}

// smuggling sends the corpus, each entry on a connection of its own, and reads what reaches the target in every way there is.
func smuggling(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	var seen []conformance.Observation
	alone := 0
	list := corpus()
	for i, of := range list {
		raw := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\n%s", up.Path, up.Host, of.raw)
		arrived, answers, err := forwardedAs(ctx, t, raw)
		if err != nil {
			return conformance.Observation{}, fmt.Errorf("%s: %w", of.name, err)
		}
		o := readAlike(arrived, answers)
		if o.Detail = of.name + ": " + o.Detail; len(arrived) == 0 {
			alone++
		}
		if good := i < 2; good && (len(arrived) == 0 || o.Outcome != oneReading) {
			return conformance.Observation{}, fmt.Errorf("a request that is good was not forwarded as it should be: %s", o.Detail)
		}
		seen = append(seen, o)
	}
	if o := worst(t, seen); o.Outcome != oneReading {
		return o, nil
	}
	return conformance.Observation{Outcome: oneReading, Detail: fmt.Sprintf("%d requests: %d answered by the balancer itself, the others in one reading each", len(list), alone)}, nil
}

// delivery is what came over one connection to the target.
type delivery struct {
	raw []byte
	// open says that the balancer kept the connection: the next request would come behind this.
	open bool
}

// forwardedAs sends raw and returns what came over each connection to the target, and how many answers of the target's came back.
func forwardedAs(ctx context.Context, t *conformance.T, raw string) (arrived []delivery, answers int, err error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = front.Close() }()
	playing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards arrived
	var open atomic.Int64
	wg.Go(func() {
		for {
			back, _, err := t.AcceptStub(playing)
			if playing.Err() != nil {
				return
			}
			if err != nil {
				continue // nobody came within a wait
			}
			open.Add(1)
			wg.Go(func() {
				cut := context.AfterFunc(playing, func() { _ = back.Close() })
				got := answerAll(t, back)
				kept := !cut()
				open.Add(-1)
				mu.Lock()
				defer mu.Unlock()
				arrived = append(arrived, delivery{got, kept})
			})
		}
	})
	if err = bounded(t, front, []byte(raw)); err == nil {
		answers = countAnswers(t, front)
	}
	for until := time.Now().Add(t.Silence()); open.Load() > 0 && time.Now().Before(until); pause(ctx, time.Millisecond) {
	}
	stop()
	wg.Wait()
	return slices.DeleteFunc(arrived, func(a delivery) bool { return len(a.raw) == 0 }), answers, nil // a refusal may come while the request is written
}

// targetMark is in every answer of the target's.
const targetMark = "X-Trb-Target: 1"

// answerAll plays a target that keeps its connections and reads as RFC 9112 has it, until the connection ends.
func answerAll(t *conformance.T, back net.Conn) []byte {
	defer back.Close()
	var got []byte
	buf := make([]byte, 4096)
	for done := 0; ; {
		within(t, back)
		n, err := back.Read(buf)
		got = append(got, buf[:n]...)
		for whole := complete(readings[0].requests(got)); done < whole; done++ {
			if _, err := back.Write([]byte("HTTP/1.1 200 OK\r\n" + targetMark + "\r\nContent-Length: 2\r\n\r\nok")); err != nil {
				return got
			}
		}
		if err != nil || len(got) > wire.MaxHeader {
			return got
		}
	}
}

// countAnswers counts the target's answers that come until there is silence, or the end.
func countAnswers(t *conformance.T, front net.Conn) int {
	var got []byte
	buf := make([]byte, 4096)
	for {
		_ = front.SetReadDeadline(time.Now().Add(t.Silence()))
		n, err := front.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil || len(got) > wire.MaxHeader {
			return bytes.Count(bytes.ToLower(got), bytes.ToLower([]byte(targetMark)))
		}
	}
}

// readAlike compares the readings with each other, and the first with the answers. A reading that waits for more of a body is harmless
// where nothing more can come.
func readAlike(arrived []delivery, answers int) conformance.Observation {
	sum, o := 0, conformance.Observation{Outcome: oneReading}
	for _, a := range arrived {
		first := readings[0].requests(a.raw)
		sum += complete(first)
		for _, r := range readings[1:] {
			got := r.requests(a.raw)
			if slices.Equal(got, first) || !a.open && slices.Equal(begun(got), begun(first)) {
				continue
			}
			o = conformance.Observation{Outcome: parted, Detail: fmt.Sprintf("%s finds %q, %s %q in %.300q", readings[0].name, first, r.name, got, a.raw)}
			if a.open {
				o.Outcome = twoReadings
				return o
			}
		}
	}
	if sum != answers {
		return conformance.Observation{Outcome: miscounted, Detail: fmt.Sprintf("%d requests at the target, %d answers at the client", sum, answers)}
	}
	return o
}

// fakeUpgrades asks for upgrades that the target refuses, and sends bytes behind them: in one write with the request, and behind the
// refusal.
func fakeUpgrades(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, c := range []struct {
		name, refusal string
		lines         []string
	}{
		{"version 777", "426 Upgrade Required", []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 777", "Sec-WebSocket-Key: " + wire.Key}},
		{"a bad Origin", "403 Forbidden", []string{"Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + wire.Key, "Origin: http://evil.example.test"}},
		{"no key", "400 Bad Request", []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"}},
		{"a token nobody speaks", "200 OK", []string{"Connection: Upgrade", "Upgrade: trb-nobody-speaks-this"}},
	} {
		for _, together := range []bool{true, false} {
			o, err := behindRefusal(ctx, t, request(t, c.lines...), c.refusal, together)
			if err != nil {
				return conformance.Observation{}, fmt.Errorf("%s: %w", c.name, err)
			}
			o.Detail = fmt.Sprintf("%s, in one write %v: %s", c.name, together, o.Detail)
			seen = append(seen, o)
		}
	}
	o := worst(t, seen)
	if o.Outcome == blocked {
		o.Detail = fmt.Sprintf("%d refused upgrades, nothing behind them came through", len(seen))
	}
	return o, nil
}

// behindRefusal sends bytes that are no HTTP behind an upgrade: a forwarding hop cannot pass them on as a request, and a tunnel does not
// change them.
func behindRefusal(ctx context.Context, t *conformance.T, raw, refusal string, together bool) (conformance.Observation, error) {
	mark := "\x00\x01SMUGGLED " + t.NewNonce() + "\r\n\r\n"
	front, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = front.Close() }()
	if together {
		raw += mark
	}
	c, err := carry(ctx, t, front, raw)
	if _, own := err.(*errAlone); own { //nolint:errorlint // carry returns it bare
		return conformance.Observation{Outcome: blocked, Detail: err.Error()}, nil
	}
	if err != nil {
		return conformance.Observation{}, err
	}
	defer c.close()
	if _, _, err := c.answer(t, "HTTP/1.1 "+refusal+"\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Logf("the refusal did not come back: %v", err) // what is asked is what reaches the target
	}
	if !together {
		_ = bounded(t, front, []byte(mark)) // the balancer may have closed
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < wire.MaxHeader {
		_ = c.rest.SetReadDeadline(time.Now().Add(t.Silence()))
		n, err := c.rest.Read(buf)
		got = append(got, buf[:n]...)
		if bytes.Contains(got, []byte(strings.TrimSpace(mark))) {
			return conformance.Observation{Outcome: tunnels, Detail: fmt.Sprintf("%q reached the target behind its %s", mark, refusal)}, nil
		}
		if err != nil {
			break
		}
	}
	return conformance.Observation{Outcome: blocked, Detail: fmt.Sprintf("%d bytes came behind the request", len(got))}, nil
}
