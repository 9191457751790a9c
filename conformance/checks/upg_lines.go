package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// Outcomes of requests whose header or framing is wrong.
const (
	harmless   conformance.Outcome = "read-as-space" // what is wrong was replaced by a space, which is allowed
	misread    conformance.Outcome = "misread"       // a part of a line was taken for a line of its own, or two for one token
	refusedEnd conformance.Outcome = "refused-and-closed"
	limited    conformance.Outcome = "limited"
)

const (
	headerBound = 1 << 20 // UPG-22: who takes a header of a mebibyte has no limit to speak of
	linesBound  = 16384
)

func init() {
	lines := func(c conformance.Check) {
		c.Role, c.Transports, c.Tags, c.Features, c.Control = conformance.Router, upgraded, rawHTTP, append([]string{"upgrade"}, c.Features...), opens("a")
		c.Origin = conformance.RFC
		if c.Forbid[conformance.Timeout] == "" {
			c.Forbid[conformance.Timeout] = "neither answered nor closed: the client hangs"
		}
		conformance.Register(c)
	}
	either := slices.Concat(pass("refused with 400", conformance.HTTPStatus(400)), pass("what is wrong was read as a space, which the RFC allows", harmless),
		tolerate("refused with another status, or closed", refused4xx, serverError, conformance.FIN, conformance.RST))
	lines(conformance.Check{
		ID: "UPG-11", Slug: "obs-fold", Level: conformance.Must, Features: []string{"websocket"},
		Title: "A folded field line is refused with 400, or read with a space in place of the fold",
		Why: "One hop reads the second line as more of the first field, the next as a field of its own. What the first one has checked is then not what the " +
			"second one obeys: a favourite of request smuggling.",
		Clauses: clauses(rfc(9112, "5.2")), Accept: either, Run: foldedLines,
		Forbid: map[conformance.Outcome]string{misread: "the folded line was taken for a field of its own, or the fold for nothing"},
	})
	lines(conformance.Check{
		ID: "UPG-12", Slug: "bare-cr", Level: conformance.Must, Features: []string{"websocket"},
		Title:   "A bare CR is refused, or read as a space; it never ends a line",
		Why:     "A hop that ends a line at CR sees a field where the hop before saw a part of a value. Everything that was checked on the way is checked on another header.",
		Clauses: clauses(rfc(9112, "2.2")), Accept: either, Run: bareCR,
		Forbid: map[conformance.Outcome]string{misread: "a bare CR was taken for the end of a line"},
	})
	lines(conformance.Check{
		ID: "UPG-14", Slug: "te-not-final", Level: conformance.Must,
		Title:   "A request whose last transfer coding is not chunked is refused with 400, and the connection closed",
		Why:     "Nobody knows where such a request ends. A server that guesses reads the rest as the next request, which is where the attacker has put one.",
		Clauses: clauses(rfc(9112, "6.3"), rfc(9112, "6.1")), Run: notChunked,
		Accept: append(pass("400, and the end of the connection", refusedEnd), tolerate("501, which a coding that is not known SHOULD be answered with, or closed", conformance.HTTPStatus(501), conformance.FIN, conformance.RST)...),
		Forbid: map[conformance.Outcome]string{
			leftOpen: "refused, but the connection goes on, though nobody knows where the request ended", switched: "switched on a request without a known end",
			conformance.HTTPStatus(404): "a request without a known end was served", notSwitched: "a request without a known end was served",
		},
	})
	lines(conformance.Check{
		ID: "UPG-22", Slug: "limits", Level: conformance.Should,
		Title: "A header without end is refused with 431 or 400 within a mebibyte, however its size is made up",
		Why: "The header is read before anything is known of who sends it. Where it has no bound, a few connections fill the memory of the router; where the " +
			"bound is a closed connection without a word, nobody finds out that a cookie has grown too long.",
		Clauses: clauses(rfc(6585, "5"), rfc(9112, "3"), rfc(9110, "5.4")), Run: headerLimits, Timeout: 30 * time.Second,
		Accept: append(pass("431 or 400, and the end of the connection", limited), tolerate("closed without an answer, or with another one", refused4xx, conformance.FIN, conformance.RST)...),
		Forbid: map[conformance.Outcome]string{unbounded: "a header of any size is taken", leftOpen: "refused, but the connection stayed open"},
	})
}

// spelling is a request that is wrong in one way. tricky is one that must not switch even when what is wrong is read as a space.
type spelling struct {
	name, raw string
	tricky    bool
}

func spelled(ctx context.Context, t *conformance.T, list ...spelling) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, s := range list {
		o, err := each(ctx, t, []offer{{s.name, s.raw}}, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
			o := answeredWith(t, resp, err)
			switch {
			case err != nil:
			case resp.Status == 400:
				o.Outcome = conformance.HTTPStatus(400)
			case resp.Status == 101 && s.tricky:
				o.Outcome = misread
			case resp.Status == 101, s.tricky && o.Outcome != serverError:
				o.Outcome = harmless
			}
			return o
		})
		if err != nil {
			return o, err
		}
		seen = append(seen, o)
	}
	o := worst(t, seen)
	o.Detail = fmt.Sprintf("%d requests; %s", len(list), o.Detail)
	return o, nil
}

func foldedLines(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	connection := "Connection: Upgrade"
	ask := func(lines ...string) string {
		return request(t, append(lines, webSocketFields...)...)
	}
	return spelled(ctx, t,
		spelling{"a fold in a field that means nothing", ask(connection, "Upgrade: websocket", "X-Trb: one\r\n two"), false},
		spelling{"a fold with a tab before the value", ask(connection, "Upgrade:\r\n\twebsocket"), false},
		spelling{"a field in the folded line of another", ask(connection, "X-Trb: one\r\n Upgrade: websocket"), true},
		spelling{"a token in two lines", ask(connection, "Upgrade: web\r\n socket"), true})
}

func bareCR(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	connection := "Connection: Upgrade"
	ask := func(lines ...string) string {
		return request(t, append(lines, webSocketFields...)...)
	}
	return spelled(ctx, t,
		spelling{"a CR in a field that means nothing", ask(connection, "Upgrade: websocket", "X-Trb: one\rtwo"), false},
		spelling{"a field behind a CR", ask(connection, "X-Trb: one\rUpgrade: websocket"), true},
		spelling{"a field behind a CR and a space", ask("Upgrade: websocket", "X-Trb: one\r Connection: Upgrade"), true})
}

func notChunked(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, coding := range []string{"gzip", "chunked, gzip", "chunked, identity"} {
		lines := []string{"Accept: */*", "Transfer-Encoding: " + coding}
		raw := strings.Replace(request(t, lines...), "GET ", "POST ", 1) + "5\r\nhello\r\n0\r\n\r\n"
		resp, rest, err := exchange(ctx, t, raw)
		if trouble, ok := errors.AsType[*harnessError](err); ok {
			return conformance.Observation{}, trouble
		}
		o := answeredWith(t, resp, err)
		if err == nil && o.Outcome != switched {
			o.Outcome = conformance.HTTPStatus(resp.Status)
			within(t, rest)
			if _, err := io.Copy(io.Discard, io.LimitReader(rest, wire.MaxHeader)); t.Outcome(err) == conformance.Timeout {
				o.Outcome, o.Detail = leftOpen, o.Detail+", and the connection stayed open"
			} else if resp.Status == 400 {
				o.Outcome = refusedEnd
			}
		}
		o.Detail = coding + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

// headerLimits makes headers twice as long each time until one is refused: by one long field, by many short ones, by a long target.
func headerLimits(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	shapes := []struct {
		name string
		make func(size int) string
	}{
		{"one field", func(size int) string { return request(t, "X-Trb: "+strings.Repeat("x", size)) }},
		{"many fields", func(size int) string {
			return request(t, strings.Split(strings.TrimSuffix(strings.Repeat("X-Trb: "+strings.Repeat("x", headerBound/linesBound-9)+"\n", size*linesBound/headerBound), "\n"), "\n")...)
		}},
		{"the target", func(size int) string {
			return fmt.Sprintf("GET %s?%s HTTP/1.1\r\nHost: %s\r\n\r\n", up.Path, strings.Repeat("x", size), up.Host)
		}},
	}
	var seen []conformance.Observation
	var how []string
	for _, s := range shapes {
		o := conformance.Observation{Outcome: unbounded, Detail: fmt.Sprintf("%d KiB were taken", headerBound>>10)}
		for size := 4 << 10; size <= headerBound && o.Outcome == unbounded; size *= 2 {
			last, err := sized(ctx, t, s.make(size))
			if err != nil {
				return last, err
			}
			if last.Outcome != notSwitched {
				o = last
				o.Detail = fmt.Sprintf("%d KiB: %s", size>>10, o.Detail)
			}
		}
		o.Detail = s.name + ": " + o.Detail
		seen, how = append(seen, o), append(how, o.Detail)
	}
	o := worst(t, seen)
	o.Detail = strings.Join(how, "; ")
	return o, nil
}

// sized sends a header and says what came of it: notSwitched is an answer that does not mind its size. A router that refuses it while
// it is still being sent may cut off its own answer: what can be read is read, whatever became of the writing.
func sized(ctx context.Context, t *conformance.T, raw string) (conformance.Observation, error) {
	c, err := t.HTTP(ctx)
	if err != nil {
		return conformance.Observation{}, &harnessError{err}
	}
	within(t, c)
	var sending sync.WaitGroup
	sending.Go(func() { _, _ = c.Write([]byte(raw)) })
	defer sending.Wait()
	defer func() { _ = c.Close() }() // lets the writer go
	resp, rest, err := wire.ReadResponse(c)
	o := answeredWith(t, resp, err)
	switch {
	case err != nil:
		return o, nil
	case !slices.Contains([]int{400, 413, 414, 431}, resp.Status):
		o.Outcome = notSwitched
		return o, nil
	case resp.Status != 413:
		o.Outcome = limited
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(rest, wire.MaxHeader)); t.Outcome(err) == conformance.Timeout {
		o.Outcome = leftOpen
	}
	return o, nil
}
