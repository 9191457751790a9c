package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of what a proxy forwards.
const (
	oneFraming conformance.Outcome = "one-framing"
	twoFraming conformance.Outcome = "both-framings"
	staysHTTP  conformance.Outcome = "stays-http"
	opened     conformance.Outcome = "tunnel" // bytes of the client's reached the target as they were
	removed    conformance.Outcome = "removed"
	kept       conformance.Outcome = "kept"
	trustLost  conformance.Outcome = "trust-lost"
)

func init() {
	forward := func(c conformance.Check) {
		c.Role, c.Control, c.Level = conformance.LoadBalancer, carries, conformance.Must
		c.Forbid[conformance.Timeout] = "neither forwarded nor answered: the client hangs"
		conformance.Register(c)
	}
	forward(conformance.Check{
		ID: "UPG-13", Slug: "cl-te", Origin: conformance.RFC,
		Title: "A request with Content-Length and Transfer-Encoding is not forwarded with both",
		Why: "The proxy believes one of them, the target the other, and what lies between their two ends is a request that nobody checked. It is the oldest " +
			"way of smuggling, and still the commonest.",
		Clauses: clauses(rfc(9112, "6.1"), rfc(9112, "6.3")), Run: twoFramings,
		Accept: append(pass("refused, or forwarded with one of them", refused4xx, oneFraming),
			tolerate("closed without an answer, or refused with 500 and above: 501 is for a coding that is not understood", serverError, conformance.FIN, conformance.RST)...),
		Forbid: map[conformance.Outcome]string{twoFraming: "both fields reached the target"},
	})
	forward(conformance.Check{
		ID: "UPG-18", Slug: "non-101", Origin: conformance.RFC,
		Title: "When the target does not answer an upgrade request with 101 the connection stays HTTP",
		Why: "A proxy that opens the tunnel when it has forwarded the request, and not when the target has agreed, lets a client ask for an upgrade that must " +
			"fail and then speak to the target past every rule.",
		Clauses: clauses(rfc(9110, "7.8"), rfc(9112, "9.3")), Run: refusedUpgrade,
		Accept: pass("what follows is read as HTTP", staysHTTP),
		Forbid: map[conformance.Outcome]string{opened: "what followed reached the target unread", switched: "the client got a 101 that the target had not sent"},
	})
	forward(conformance.Check{
		ID: "UPG-19", Slug: "unsolicited-101", Origin: conformance.Policy,
		Title: "A 101 in answer to a request without Upgrade becomes 502, and opens no tunnel",
		Why: "A target that is made to send a 101, by a bug or by an attacker behind it, must not turn a plain connection into a tunnel: the next request of " +
			"the client would be read by nobody, or by somebody else.",
		Clauses: clauses(rfc(9110, "7.8"), rfc(9110, "15.2.2"), rfc(9110, "15.6.3")), Run: unasked101,
		Accept: append(pass("502", conformance.HTTPStatus(502)), tolerate("another error, or closed", serverError, conformance.FIN, conformance.RST)...),
		Forbid: map[conformance.Outcome]string{switched: "the 101 was passed on to a client that had not asked for it"},
	})
	forward(conformance.Check{
		ID: "UPG-21", Slug: "nominated-headers", Origin: conformance.RFC,
		Title: "Fields named in Connection are removed, and what the proxy vouches for is set behind that",
		Why: "A client names X-Forwarded-For in Connection. A proxy that sets its fields first and then removes what was named takes its own word away, and " +
			"the target believes in the address of the proxy, or in nothing.",
		Clauses: clauses(rfc(9110, "7.6.1")), Run: nominated,
		Accept: pass("the named field is gone, the proxy's own is there", removed),
		Forbid: map[conformance.Outcome]string{kept: "a field that is for this hop only was forwarded", trustLost: "the proxy's own field was removed with the client's"},
	})
}

// relayed is a request on its way through a proxy. Answered gives what the client got, whoever answered.
type relayed struct {
	front    net.Conn
	back     net.Conn // behind the request; nil when the proxy answered by itself
	close    func() error
	req      *wire.Request
	answered chan relayAnswer
}

type relayAnswer struct {
	resp *wire.Response
	rest net.Conn
	err  error
}

func (r *relayed) stop() {
	_ = r.front.Close()
	if r.close != nil {
		_ = r.close()
	}
}

// relay sends a request and waits until it reaches the target or is answered without it, whichever is first.
func relay(ctx context.Context, t *conformance.T, raw string) (*relayed, error) {
	front, err := t.HTTP(ctx)
	if err != nil {
		return nil, &harnessError{err}
	}
	if err := bounded(t, front, []byte(raw)); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	r := &relayed{front: front, answered: make(chan relayAnswer, 1)}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		resp, rest, err := wire.ReadResponse(front)
		r.answered <- relayAnswer{resp, rest, err}
	}()
	back, _, err := t.AcceptStub(waiting)
	if err != nil {
		if waiting.Err() == nil { // neither the one nor the other
			return nil, errors.Join(err, front.Close())
		}
		return r, ctx.Err()
	}
	within(t, back)
	r.close = back.Close
	if r.req, r.back, err = wire.ReadRequest(back); err != nil {
		r.stop()
		return nil, fmt.Errorf("as the target: %w", err)
	}
	within(t, front)
	return r, nil
}

// answer is the target's; it returns what the client got.
func (r *relayed) answer(t *conformance.T, raw string) relayAnswer {
	if r.back != nil {
		if err := bounded(t, r.back, []byte(raw)); err != nil {
			return relayAnswer{err: fmt.Errorf("answering as the target: %w", err)}
		}
	}
	return <-r.answered
}

func twoFramings(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const content = "5\r\nhello\r\n0\r\n\r\n"
	var seen []conformance.Observation
	for _, lines := range [][]string{
		{fmt.Sprintf("Content-Length: %d", len(content)), "Transfer-Encoding: chunked"},
		{"Transfer-Encoding: chunked", "Content-Length: 0"},
		{fmt.Sprintf("Content-Length: %d", len(content)), "transfer-encoding:\tchunked"},
	} {
		raw := strings.Replace(request(t, lines...), "GET ", "POST ", 1) + content
		r, err := relay(ctx, t, raw)
		if err != nil {
			return conformance.Observation{}, err
		}
		a := r.answer(t, servedByTarget)
		o := answeredWith(t, a.resp, a.err)
		if r.req != nil {
			o = conformance.Observation{Outcome: oneFraming, Detail: strings.Join(r.req.Lines, " | ")}
			if len(r.req.Header.Values("Content-Length")) > 0 && len(r.req.Header.Values("Transfer-Encoding")) > 0 {
				o.Outcome = twoFraming
			}
		}
		r.stop()
		o.Detail = strings.Join(lines, " | ") + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

func refusedUpgrade(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, v := range []struct {
		typ, line string
	}{
		{wire.WebSocket, "200 OK"},
		{wire.WebSocket, "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"},
		{wire.ALPN, "403 Forbidden"},
		{wire.ALPN, "200 OK"},
	} {
		o, err := followed(ctx, t, asks(t, v.typ), "HTTP/1.1 "+v.line+"\r\nContent-Length: 2\r\n\r\nno")
		if err != nil {
			return o, err
		}
		o.Detail = fmt.Sprintf("%s answered with %.3s: %s", v.typ, v.line, o.Detail)
		seen = append(seen, o)
	}
	o := worst(t, seen)
	o.Detail = fmt.Sprintf("%d requests; %s", len(seen), o.Detail)
	return o, nil
}

// followed sends what is no HTTP behind an answer that is not 101: who reads it as HTTP refuses it, a tunnel carries it.
func followed(ctx context.Context, t *conformance.T, raw, answer string) (conformance.Observation, error) {
	r, err := relay(ctx, t, raw)
	if err != nil {
		return conformance.Observation{}, err
	}
	defer r.stop()
	a := r.answer(t, answer)
	switch {
	case a.err != nil:
		return conformance.Observation{Outcome: t.Outcome(a.err), Detail: a.err.Error()}, nil
	case a.resp.Status == 101:
		return conformance.Observation{Outcome: switched, Detail: "the client got 101"}, nil
	case r.back == nil:
		return conformance.Observation{Outcome: staysHTTP, Detail: fmt.Sprintf("the proxy itself answered %d", a.resp.Status)}, nil
	}
	if _, err := a.resp.Body(a.rest, wire.MaxHeader); err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: "reading the answer: " + err.Error()}, nil
	}
	marker := "trb " + t.Nonce + " is no HTTP"
	within(t, a.rest)
	_, err = a.rest.Write([]byte(marker + "\r\n\r\n")) // it may have been closed behind the answer, which is as good as refused
	how := "refused"
	if err == nil {
		resp, _, err := wire.ReadResponse(a.rest)
		if how = fmt.Sprint(t.Outcome(err)); err == nil {
			how = fmt.Sprint(resp.Status)
		}
	}
	_ = r.back.SetReadDeadline(time.Now().Add(t.Silence())) // an error shows in the read
	got, _ := io.ReadAll(io.LimitReader(r.back, wire.MaxHeader))
	if strings.Contains(string(got), t.Nonce) {
		return conformance.Observation{Outcome: opened, Detail: fmt.Sprintf("the target got %.60q", got)}, nil
	}
	return conformance.Observation{Outcome: staysHTTP, Detail: "what followed was answered with " + how}, nil
}

func unasked101(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, token := range []string{wire.WebSocket, wire.ALPN} {
		r, err := relay(ctx, t, get(t))
		if err != nil {
			return conformance.Observation{}, err
		}
		a := r.answer(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+token+"\r\nConnection: Upgrade\r\n\r\n")
		o := answeredWith(t, a.resp, a.err)
		if a.err == nil && a.resp.Status == 502 {
			o.Outcome = conformance.HTTPStatus(502)
		}
		r.stop()
		o.Detail = "101 to " + token + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

// nominated compares a request whose Connection names two of its fields with the same request whose Connection does not.
func nominated(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const hop, trust, forgery = "X-Trb-Hop", "X-Forwarded-For", "192.0.2.99"
	fields := []string{hop + ": secret", trust + ": " + forgery}
	forwarded := func(lines ...string) (*wire.Request, error) {
		r, err := relay(ctx, t, request(t, slices.Concat(lines, fields)...))
		if err != nil {
			return nil, err
		}
		defer r.stop()
		a := r.answer(t, servedByTarget)
		if r.req == nil {
			return nil, errors.Join(errors.New("the proxy answered in the place of its target"), a.err)
		}
		return r.req, nil
	}
	plain, err := forwarded("Connection: keep-alive")
	if err != nil {
		return conformance.Observation{}, err
	}
	if plain.Header.Get(hop) == "" {
		return conformance.Observation{}, &conformance.UnsupportedError{Reason: "the proxy forwards no field that it does not know"}
	}
	own := last(plain.Header.Values(trust))
	var seen []conformance.Observation
	for _, lines := range [][]string{
		{"Connection: keep-alive, " + hop + ", " + trust},
		append([]string{"Connection: Upgrade, " + hop + ", " + trust, "Upgrade: websocket"}, webSocketFields...),
		{"Connection: keep-alive", "connection: " + strings.ToLower(hop+","+trust)},
	} {
		req, err := forwarded(lines...)
		if err != nil {
			return conformance.Observation{}, err
		}
		o := conformance.Observation{Outcome: removed, Detail: lines[0] + ": " + strings.Join(req.Lines, " | ")}
		switch got := strings.Join(req.Header.Values(trust), ", "); {
		case len(req.Header.Values(hop)) > 0, strings.Contains(got, forgery):
			o.Outcome = kept
		case own != forgery && own != "" && last(req.Header.Values(trust)) != own:
			o.Outcome = trustLost
		}
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

// last is the last item of a list over any number of lines: what the nearest hop has added.
func last(values []string) string {
	items := strings.Split(strings.Join(values, ","), ",")
	return strings.TrimSpace(items[len(items)-1])
}
