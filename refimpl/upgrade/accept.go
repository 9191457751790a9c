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

// Accept answers req, which was read from br over conn, and returns the tunnel and its type. ctx bounds the exchange, not the
// tunnel; the deadlines of conn are cleared on every way out. br may be nil when nothing was read ahead. What br holds behind
// the request is the beginning of the tunnel.
//
// On refusal the status is written (400, 405, 413 or 426, with Connection: close and a short text) and a *RefusedError
// returned; on any error conn is the caller's to close. Nothing is written into the tunnel before its owner does, except
// keep-alive pings, the first of them an interval after the 101.
func Accept(
	ctx context.Context, conn net.Conn, br *bufio.Reader, req *http.Request, opt ServerOptions,
) (tunnel net.Conn, typ string, err error) {
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	release := bound(ctx, conn, opt.Timeout)
	defer func() {
		if release() == nil {
			return
		}
		if err == nil {
			// The 101 may have gone out; a tunnel whose owner has left is nobody's.
			tunnel.Close()
			tunnel, typ = nil, ""
		}
		if _, refused := errors.AsType[*RefusedError](err); !refused {
			err = fmt.Errorf("upgrade: %w", because(ctx, err))
		}
	}()

	t, answer, refused := choose(req, opt)
	if refused != nil {
		return nil, "", refuse(conn, req, refused)
	}
	if req.ContentLength > maxBody {
		return nil, "", refuse(conn, req, &RefusedError{Status: http.StatusRequestEntityTooLarge, Reason: "body too large for an upgrade"})
	}
	if expectsContinue(req) {
		// RFC 9110 section 7.8: 100 before 101, whether or not a body follows.
		if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return nil, "", fmt.Errorf("upgrade: write 100: %w", err)
		}
	}
	if refused, err := consume(req); err != nil {
		return nil, "", err
	} else if refused != nil {
		return nil, "", refuse(conn, req, refused)
	}

	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\n", t.Name())
	if !t.NeedsConnection() && len(req.Header[compatField]) > 0 {
		fmt.Fprintf(&b, "%s: %s\r\n", compatField, t.Name())
	}
	writeFields(&b, answer)
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, "", fmt.Errorf("upgrade: write 101: %w", err)
	}
	return t.Server(conn, leftover(br), opt), t.Name(), nil
}

// choose picks the type the server prefers among those offered and enabled, and has it check the request.
func choose(req *http.Request, opt ServerOptions) (Type, http.Header, *RefusedError) {
	if req.Method != http.MethodGet {
		allow := http.Header{"Allow": {"GET"}}
		return nil, nil, &RefusedError{Status: http.StatusMethodNotAllowed, Reason: "the upgrade is a GET", fields: allow}
	}
	var ours []string
	for _, name := range Names() {
		if opt.Types == nil || slices.Contains(opt.Types, name) {
			ours = append(ours, name)
		}
	}
	required := func(reason string) *RefusedError {
		// RFC 9110 section 15.5.22: a 426 says what would do.
		return &RefusedError{Status: http.StatusUpgradeRequired, Reason: reason, fields: http.Header{"Upgrade": {strings.Join(ours, ", ")}}}
	}
	if !req.ProtoAtLeast(1, 1) {
		// RFC 9110 section 7.8: Upgrade is ignored in HTTP/1.0.
		return nil, nil, required("the upgrade needs HTTP/1.1")
	}
	if req.Host == "" {
		return nil, nil, &RefusedError{Status: http.StatusBadRequest, Reason: "no Host"}
	}
	offered := slices.Concat(req.Header["Upgrade"], req.Header[compatField])
	connection := hasToken(req.Header["Connection"], "upgrade")
	fits := func(t Type) bool { return connection || !opt.RequireConnection && !t.NeedsConnection() }
	var chosen Type
	for _, name := range ours {
		if !hasToken(offered, name) {
			continue
		}
		t := lookup(name)
		if fits(t) {
			chosen = t
			break
		}
		if chosen == nil {
			chosen = t // refused below, unless another one fits
		}
	}
	if chosen == nil {
		if len(offered) == 0 {
			return nil, nil, required("no Upgrade in the request")
		}
		return nil, nil, required("none of the offered upgrades is served here")
	}
	if !fits(chosen) {
		return nil, nil, &RefusedError{Status: http.StatusBadRequest, Reason: chosen.Name() + " needs Connection: upgrade"}
	}
	answer, refused := chosen.Answer(req)
	if refused != nil && refused.Status == http.StatusUpgradeRequired && refused.fields.Get("Upgrade") == "" {
		refused.fields.Set("Upgrade", strings.Join(ours, ", "))
	}
	return chosen, answer, refused
}

// consume reads the body away: what is left of it would be taken for the tunnel's first bytes.
func consume(req *http.Request) (*RefusedError, error) {
	if req.Body == nil {
		return nil, nil
	}
	n, err := io.Copy(io.Discard, io.LimitReader(req.Body, maxBody+1))
	var timeout net.Error
	switch {
	case n > maxBody:
		return &RefusedError{Status: http.StatusRequestEntityTooLarge, Reason: "body too large for an upgrade"}, nil
	case err == nil:
		return nil, nil
	case errors.As(err, &timeout), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("upgrade: read body: %w", err)
	}
	return &RefusedError{Status: http.StatusBadRequest, Reason: "malformed body"}, nil
}

// refuse writes a refusal. An error of the write is not worth more than the refusal itself.
func refuse(conn net.Conn, req *http.Request, r *RefusedError) error {
	body := r.Reason + "\n"
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.Status, http.StatusText(r.Status))
	connection := "close"
	if r.fields.Get("Upgrade") != "" {
		connection = "close, upgrade" // RFC 9110 section 7.8: whoever sends Upgrade nominates it
	}
	fmt.Fprintf(&b, "Connection: %s\r\n", connection)
	writeFields(&b, r.fields)
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n", len(body))
	if req.Method != http.MethodHead { // RFC 9110 section 9.3.2: the length of a body that is not sent
		b.WriteString(body)
	}
	_, _ = io.WriteString(conn, b.String())
	return r
}

func writeFields(b *strings.Builder, fields http.Header) {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range fields[name] {
			fmt.Fprintf(b, "%s: %s\r\n", name, v)
		}
	}
}

func expectsContinue(req *http.Request) bool { return hasToken(req.Header["Expect"], "100-continue") }

// leftover takes what br has read ahead.
func leftover(br *bufio.Reader) []byte {
	if br == nil || br.Buffered() == 0 {
		return nil
	}
	p, _ := br.Peek(br.Buffered())
	p = slices.Clone(p)
	_, _ = br.Discard(len(p)) // they are buffered
	return p
}

// hasToken looks for a token in comma-separated fields, in any case (RFC 9110 sections 5.6.1 and 7.8).
func hasToken(fields []string, token string) bool {
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// hasExact is hasToken for names that have a case (subprotocols).
func hasExact(fields []string, token string) bool {
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if strings.Trim(item, " \t") == token {
				return true
			}
		}
	}
	return false
}
