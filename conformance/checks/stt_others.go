package checks

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// serverFirst is the fixture with a protocol in which the server speaks first on the port; TLS that begins in it is routed by its name.
func serverFirst(name string, set func(*door.Plaintext)) *conformance.Setup {
	return &conformance.Setup{Name: name, Change: func(_ conformance.Fixture, doc *door.Router) {
		doc.Plaintext = &door.Plaintext{}
		set(doc.Plaintext)
	}}
}

func init() {
	mysql := result.Clause{
		Doc: "MySQL Internals", Section: "Connection Phase: SSL Handshake",
		URL: "https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html",
	}
	forMySQL := serverFirst("mysql", func(p *door.Plaintext) { p.MySQL = "a" })
	register := func(c conformance.Check) {
		c.Role, c.Transports, c.Control = conformance.Router, directOnly, opens("a")
		c.Features = append(c.Features, "terminate")
		conformance.Register(c)
	}
	register(conformance.Check{
		ID: "STT-07", Slug: "mysql", Level: conformance.May, Origin: conformance.Vendor, Features: []string{"mysql"},
		Title: "A MySQL client is greeted, asks for TLS, and is routed by the name in it",
		Why: "MySQL's server speaks first, and clients from 8.1 on send a name behind their SSLRequest. Without a greeting of the router's " +
			"own, a port can serve one MySQL server and no other protocol.",
		Clauses: clauses(mysql), Setup: forMySQL, Accept: pass(byWitness, conformance.Routed),
		Forbid: map[conformance.Outcome]string{conformance.Misrouted: "the name behind the SSLRequest was not looked at", conformance.Timeout: "no greeting came"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			var seen []conformance.Observation
			for _, route := range []string{"a", "b"} {
				o := mysqlTo(ctx, t, route, nil)
				o.Detail = "route " + route + ": " + o.Detail
				seen = append(seen, o)
			}
			return worst(t, seen), nil
		},
	})
	register(conformance.Check{
		ID: "STT-08", Slug: "mysql-stuffing", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Policy, Features: []string{"mysql"},
		Title:   "What is glued to MySQL's SSLRequest in the clear never counts as said under TLS",
		Why:     "As with PostgreSQL: bytes that somebody on the way put behind the request must not be the first of the session.",
		Clauses: clauses(mysql), Setup: forMySQL, Accept: pass("the connection ends, and no backend is dialled", refusedBefore),
		Forbid: map[conformance.Outcome]string{served: "the connection went on with the stranger's bytes in it", conformance.Dialled: "a backend was dialled"},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			before := t.Accepted()
			o := mysqlTo(ctx, t, "a", wire.MySQLQuery("DROP TABLE users"))
			switch {
			case o.Outcome == conformance.Routed:
				o.Outcome = served
			case isRefusal(o.Outcome) || o.Outcome == conformance.Truncated:
				o.Outcome = refusedBefore
			}
			return undialled(ctx, t, before, o), nil
		},
	})
	register(conformance.Check{
		ID: "STT-09", Slug: "smtp-imap-inject", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.RFC, Features: []string{"smtp"},
		Title: "Commands that are buffered behind STARTTLS are discarded when TLS begins",
		Why: "A command that somebody on the way glued to STARTTLS is executed as the client's once TLS stands: mail is sent in its name, or its " +
			"password goes to the stranger (CVE-2011-0411).",
		Clauses: clauses(rfc(3207, "4.2"), cve("CVE-2011-0411")), Setup: serverFirst("smtp", func(p *door.Plaintext) { p.SMTP = "a" }),
		Accept: slices.Concat(pass("the command is discarded", conformance.Routed), pass("the connection ends", refusedBefore)),
		Forbid: map[conformance.Outcome]string{conformance.Lost: "the stranger's command was the first that the backend read", conformance.Misrouted: "the stranger's command came first"},
		Run:    smtpInjected,
	})
}

// mysqlTo opens a session to a route behind a greeting and an SSLRequest; glued goes out with the request.
func mysqlTo(ctx context.Context, t *conformance.T, route string, glued []byte) conformance.Observation {
	failed := func(err error) conformance.Observation {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
	}
	conn, err := t.TCP(ctx)
	if err != nil {
		return failed(err)
	}
	defer closeQuietly(conn)
	if err := bounded(t, conn, nil); err != nil {
		return failed(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return failed(fmt.Errorf("waiting for the greeting: %w", err))
	}
	length := binary.LittleEndian.Uint32(append(head[:3:3], 0))
	if length == 0 || length > 4096 {
		return failed(fmt.Errorf("a greeting of %d bytes", length))
	}
	greeting := make([]byte, length)
	if _, err := io.ReadFull(conn, greeting); err != nil {
		return failed(err)
	}
	const protocol = 10
	if greeting[0] != protocol {
		return failed(fmt.Errorf("a greeting of protocol %d", greeting[0]))
	}
	if err := bounded(t, conn, append(wire.MySQLSSLRequest(head[3]+1), glued...)); err != nil {
		return failed(err)
	}
	cfg, err := t.Config(route)
	if err != nil {
		return failed(err)
	}
	return reachOver(ctx, t, conn, cfg, witnessOf(t, route))
}

func smtpInjected(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	conn, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	before := t.Accepted()
	// One byte at a time: what comes behind the last answer is TLS.
	lines := func(want string) error {
		for {
			line, err := lineOf(conn)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(line, want) {
				return fmt.Errorf("SMTP: %q, not %s", line, want)
			}
			if len(line) > 3 && line[3] == ' ' {
				return nil
			}
		}
	}
	err = errors.Join(bounded(t, conn, nil), lines("220"))
	if err == nil {
		err = errors.Join(bounded(t, conn, []byte("EHLO client.example.test\r\n")), lines("250"))
	}
	if err == nil {
		err = errors.Join(bounded(t, conn, []byte("STARTTLS\r\nMAIL FROM:<mallory@example.test>\r\n")), lines("220"))
	}
	if err != nil {
		o := conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}
		if isRefusal(o.Outcome) {
			o.Outcome = refusedBefore
		}
		return undialled(ctx, t, before, o), nil
	}
	cfg, err := t.Config("a")
	if err != nil {
		return conformance.Observation{}, err
	}
	o := reachOver(ctx, t, conn, cfg, witnessOf(t, "a"))
	if strings.HasPrefix(string(o.Outcome), "error") || o.Outcome == conformance.Timeout {
		o.Outcome = conformance.Lost // the witness took something else for the order
	}
	return o, nil
}

// lineOf reads a line and not a byte more.
func lineOf(conn net.Conn) (string, error) {
	br := bufio.NewReaderSize(io.LimitReader(bytewise{conn}, 1024), 16)
	line, err := br.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// bytewise reads byte by byte.
type bytewise struct{ io.Reader }

func (r bytewise) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }
