package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// webSocketFields make a websocket request complete; h2cFields do it for h2c. Both lack Connection.
var (
	webSocketFields = []string{"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + wire.Key, "Sec-WebSocket-Protocol: alpn"}
	h2cFields       = []string{"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"}
)

// request is a GET of the upgrade path with these field lines.
func request(t *conformance.T, lines ...string) string {
	return string(wire.Upgrade{Host: t.Path.Upgrade.Host, Path: t.Path.Upgrade.Path, Replace: lines}.Request())
}

// offer is one request, and what it is about.
type offer struct{ name, raw string }

// exchange sends raw bytes to the endpoint on a connection of their own and reads the answer's header.
func exchange(ctx context.Context, t *conformance.T, raw string) (*wire.Response, net.Conn, error) {
	c, err := t.HTTP(ctx)
	if err != nil {
		return nil, nil, &harnessError{err}
	}
	if err := bounded(t, c, []byte(raw)); err != nil {
		return nil, nil, err
	}
	return wire.ReadResponse(c)
}

// harnessError is trouble before the request was made: nothing was learnt.
type harnessError struct{ err error }

func (e *harnessError) Error() string { return "reaching the endpoint: " + e.err.Error() }
func (e *harnessError) Unwrap() error { return e.err }

// answeredWith says in this file's outcomes what came back.
func answeredWith(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	o := conformance.Observation{Outcome: notSwitched, Detail: fmt.Sprintf("%d %s", resp.Status, resp.Reason)}
	switch {
	case resp.Status == 101:
		o.Outcome = switched
	case resp.Status >= 500:
		o.Outcome = serverError
	case resp.Status >= 400:
		o.Outcome = refused4xx
	}
	return o
}

// offers makes each request and reports the worst answer; all of them in the detail.
func offers(ctx context.Context, t *conformance.T, list ...offer) (conformance.Observation, error) {
	return each(ctx, t, list, answeredWith)
}

// status is offers where the very status counts.
func status(ctx context.Context, t *conformance.T, list ...offer) (conformance.Observation, error) {
	return each(ctx, t, list, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
		o := answeredWith(t, resp, err)
		if err == nil && o.Outcome != switched {
			o.Outcome = conformance.HTTPStatus(resp.Status)
		}
		return o
	})
}

func each(ctx context.Context, t *conformance.T, list []offer, see func(*conformance.T, *wire.Response, error) conformance.Observation) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, of := range list {
		resp, rest, err := exchange(ctx, t, of.raw)
		if trouble, ok := errors.AsType[*harnessError](err); ok {
			return conformance.Observation{}, trouble
		}
		o := see(t, resp, err)
		o.Detail = of.name + ": " + o.Detail
		seen = append(seen, o)
		if rest != nil {
			_ = rest.Close()
		}
	}
	o := worst(t, seen)
	if len(seen) > 1 {
		o.Detail = fmt.Sprintf("%d requests; %s", len(seen), o.Detail)
	}
	return o, nil
}

func switchFields(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	return fields(ctx, t, func(typ string) string {
		return string(wire.Upgrade{Type: typ, Host: t.Path.Upgrade.Host, Path: t.Path.Upgrade.Path}.Request())
	}, t.Path.Upgrade.Types)
}

func tokenAlone(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	custom := slices.DeleteFunc(slices.Clone(t.Path.Upgrade.Types), func(s string) bool { return s == wire.WebSocket })
	if len(custom) == 0 {
		return conformance.Observation{}, &conformance.UnsupportedError{Reason: "the endpoint has no custom token"}
	}
	return fields(ctx, t, func(typ string) string { return request(t, "Upgrade: "+typ) }, custom)
}

// fields asks for each type and looks at the fields of the 101.
func fields(ctx context.Context, t *conformance.T, raw func(typ string) string, types []string) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, typ := range types {
		o, err := each(ctx, t, []offer{{typ, raw(typ)}}, func(t *conformance.T, resp *wire.Response, err error) conformance.Observation {
			o := answeredWith(t, resp, err)
			if o.Outcome != switched {
				return o
			}
			o.Detail = strings.Join(resp.Lines, " | ")
			switch token := resp.Header.Values("Upgrade"); {
			case len(token) == 0:
				o.Outcome = noUpgrade
			case len(token) != 1 || !strings.EqualFold(token[0], typ):
				o.Outcome = otherToken
			case !wire.HasToken(resp.Header, "Connection", "upgrade"):
				o.Outcome = noConnection
			}
			return o
		})
		if err != nil {
			return o, err
		}
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

// within bounds what happens on c from now on.
func within(t *conformance.T, c net.Conn) { _ = c.SetDeadline(deadline(t)) }

func deadline(t *conformance.T) time.Time { return time.Now().Add(t.Wait()) }
