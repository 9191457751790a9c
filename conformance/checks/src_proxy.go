package checks

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Outcomes of the group SRC.
const (
	believed    conformance.Outcome = "believed"     // the witness was told what the client's hop said
	unheard     conformance.Outcome = "ignored"      // the witness was told of another source
	endpoints   conformance.Outcome = "endpoints"    // the witness was told of the connection's own ends
	headerless  conformance.Outcome = "no-header"    // the witness got no PROXY header
	misreported conformance.Outcome = "misreported"  // what the header says is not so
	closed      conformance.Outcome = "closed"       // without a backend being dialled
	confused    conformance.Outcome = "other-reader" // header and payload were taken for each other
)

// Addresses of documentation (RFC 5737, RFC 3849), so that nobody's are told by chance.
var (
	source4 = netip.MustParseAddrPort("192.0.2.7:41234")
	dest4   = netip.MustParseAddrPort("198.51.100.9:443")
	source6 = netip.MustParseAddrPort("[2001:db8::7]:41234")
	dest6   = netip.MustParseAddrPort("[2001:db8::9]:443")
)

func proxySpec(section string) result.Clause {
	return result.Clause{Doc: "PROXY protocol", Section: "section " + section, URL: "https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt"}
}

// proxied is the fixture with a mode of proxy_protocol, in which routes a and pass tell their backends of the source.
func proxied(mode string, trusted ...string) *conformance.Setup {
	name := fmt.Sprintf("proxy %s, trusted %s", mode, strings.Join(trusted, " "))
	return &conformance.Setup{Name: name, Change: func(_ conformance.Fixture, doc *door.Router) {
		doc.ProxyProtocol = door.Trust{Mode: mode, Trusted: trusted}
		for i := range doc.Routes {
			if r := &doc.Routes[i]; r.Name == "a" || r.Name == "pass" {
				r.Backend.SendProxy = "v2"
			}
		}
	}}
}

const loopback = "127.0.0.0/8"

var fromProxy = []string{"terminate", "proxy-in", "proxy-out"}

func init() {
	register := func(c conformance.Check) {
		c.Level, c.Role, c.Transports = conformance.Must, conformance.Router, directOnly
		if c.Origin == "" {
			c.Origin = conformance.Vendor // HAProxy's specification is no RFC
		}
		if c.Features == nil {
			c.Features = fromProxy
		}
		conformance.Register(c)
	}
	lies := map[conformance.Outcome]string{
		unheard: "the address that the header names is lost: logs, limits and access lists see the load balancer", closed: "a valid header was refused",
		headerless: "the backend was not told", confused: "the header was taken for the client's bytes",
	}
	register(conformance.Check{
		ID: "SRC-01", Slug: "v1", Title: "A header of PROXY version 1 is read, UNKNOWN included, up to 107 bytes",
		Why: "Load balancers that pass TLS on have no other way to say who the client is. A reader that knows only the shape that its author's " +
			"balancer writes drops the connections of the next one: IPv6, UNKNOWN of a health check, the longest line that there is.",
		Clauses: clauses(proxySpec("2.1")), Setup: proxied("required", loopback),
		Accept: pass("the backend is told the address of the header, and for UNKNOWN that of the connection", believed), Forbid: lies,
		Control: introduced(wire.ProxyV1(source4, dest4)), Run: versionOne,
	})
	register(conformance.Check{
		ID: "SRC-02", Slug: "v1-bad", Tags: []string{conformance.Counts}, Title: "A line that is no header of version 1 ends the connection where one is required",
		Why: "What is not exactly a header is an attack or a mistake of configuration. A lenient parser lets a client smuggle an address past " +
			"the one that the balancer wrote, and access lists with it.",
		Clauses: clauses(proxySpec("2.1")), Setup: proxied("required", loopback),
		Accept:  pass("the receiver must abort what does not match", closed),
		Forbid:  map[conformance.Outcome]string{served: "a malformed header was accepted", conformance.Dialled: "a backend was dialled behind a malformed header", leftOpen: "the connection stays open"},
		Control: introduced(wire.ProxyV1(source4, dest4)), Run: versionOneBad,
	})
	register(conformance.Check{
		ID: "SRC-03", Slug: "v2-tlv", Title: "A header of PROXY version 2 is read in every family, and TLVs that nobody knows are skipped",
		Why: "AWS adds TLVs of its own to every connection of an NLB, and others will follow. A reader that stops at a type it does not know, or " +
			"takes the TLVs for the client's first bytes, breaks on the day the balancer is upgraded.",
		Clauses: clauses(proxySpec("2.2")), Setup: proxied("required", loopback),
		Accept: pass("the backend is told the address of the header; a family without one tells nothing", believed), Forbid: lies,
		Control: introduced(wire.ProxyV1(source4, dest4)), Run: versionTwo,
	})
	register(conformance.Check{
		ID: "SRC-04", Slug: "v2-local", Title: "The command LOCAL means the connection itself: its address block is discarded",
		Why: "A balancer's own connections, health checks above all, come with LOCAL. A reader that believes the block in it reports an address " +
			"that does not exist, or dies of its length.",
		Clauses: clauses(proxySpec("2.2")), Setup: proxied("required", loopback),
		Accept: pass("the real endpoints are used", endpoints),
		Forbid: map[conformance.Outcome]string{
			believed: "the addresses of a LOCAL header were believed", closed: "a valid header was refused", confused: "the block was taken for the client's bytes",
		},
		Control: introduced(wire.ProxyV1(source4, dest4)), Run: localCommand,
	})
	register(conformance.Check{
		ID: "SRC-05", Slug: "no-guess", Tags: []string{conformance.Counts}, Title: "A header counts where it is configured and from whom it is trusted, and where it is required nothing goes without",
		Why: "A port that guesses lets anybody who connects directly choose the address that logs and access lists see. One that requires the " +
			"header and serves without it can be reached around the balancer.",
		Clauses: clauses(proxySpec("2")), Setup: proxied("required", loopback),
		Accept:  pass("a receiver must be configured to expect the header, and must not guess", closed),
		Forbid:  map[conformance.Outcome]string{served: "a connection without the required header was served", conformance.Dialled: "a backend was dialled without the required header"},
		Control: introduced(wire.ProxyV1(source4, dest4)), Run: noHeader,
	})
	register(conformance.Check{
		ID: "SRC-05-U", Slug: "no-guess-untrusted", Title: "A header from somebody who is not trusted with one is never honoured",
		Why:     "The list of trusted peers is all that stands between a stranger's header and the address that logs and access lists see.",
		Clauses: clauses(proxySpec("2")), Setup: proxied("optional", "192.0.2.0/24"),
		Accept:  slices.Concat(pass("the header of an untrusted peer is not read", closed), pass("the peer's own address is told", endpoints)),
		Forbid:  map[conformance.Outcome]string{believed: "a stranger's header was believed"},
		Control: unintroduced, Run: strangersHeader,
	})
	register(conformance.Check{
		ID: "SRC-05-O", Slug: "no-guess-off", Title: "Where no header is configured, none is honoured",
		Why: "A port that reads a PROXY header though nobody asked it to lets anybody who can reach it choose the address that logs and access " +
			"lists see.",
		Clauses: clauses(proxySpec("2")), Setup: proxied("off"), Features: []string{"terminate", "proxy-out"},
		Accept:  slices.Concat(pass("a receiver must not guess: the bytes are no TLS", closed), pass("the peer's own address is told", endpoints)),
		Forbid:  map[conformance.Outcome]string{believed: "a header was believed that nobody asked for"},
		Control: unintroduced, Run: strangersHeader,
	})
	register(conformance.Check{
		ID: "SRC-06", Slug: "split-coalesced", Origin: conformance.Policy, Title: "A header in pieces, or in one segment with the ClientHello, is read the same",
		Why: "TCP promises nothing about segments. A reader that takes the first read for the whole header fails for a few connections in a " +
			"thousand; one that throws away what came behind it loses the ClientHello.",
		Clauses: clauses(proxySpec("2")), Setup: proxied("required", loopback),
		Accept: pass("the backend is told the address of the header", believed), Forbid: lies,
		Control: introduced(wire.ProxyV1(source4, dest4)), Run: pieces,
	})
}

// introduction opens a connection, sends a header and then goes to a route, and says what the witness was told. Pieces are written one
// by one, with a pause between them that keeps them apart.
func introduction(ctx context.Context, t *conformance.T, route string, header ...[]byte) (conformance.Observation, witness.Record, net.Addr) {
	conn, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, witness.Record{}, nil
	}
	defer closeQuietly(conn)
	// On a busy machine pauses take longer than they should, and the router's patience ends: what is left then goes without.
	unhurried := time.Now().Add(cmp.Or(t.Target.HelloTimeout, t.Wait()) / 3)
	for i, piece := range header {
		if i > 0 && time.Now().Before(unhurried) {
			pause(ctx, t.Gap())
		}
		if err := bounded(t, conn, piece); err != nil {
			return conformance.Observation{Outcome: closed, Detail: err.Error()}, witness.Record{}, conn.LocalAddr()
		}
	}
	return introducedTo(ctx, t, conn, route)
}

// closeQuietly closes what has said all that was of interest.
func closeQuietly(c net.Conn) { _ = c.Close() }

// pause keeps two segments apart.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func introducedTo(ctx context.Context, t *conformance.T, conn net.Conn, route string) (conformance.Observation, witness.Record, net.Addr) {
	cfg, err := t.Config(route)
	if err != nil {
		return conformance.Observation{Outcome: t.Outcome(err), Detail: err.Error()}, witness.Record{}, conn.LocalAddr()
	}
	secure, err := t.TLS(ctx, conn, cfg)
	if err != nil {
		o := conformance.Observation{Outcome: t.Outcome(err), Detail: "handshake: " + err.Error()}
		if isRefusal(o.Outcome) {
			o.Outcome = closed
		}
		return o, witness.Record{}, conn.LocalAddr()
	}
	o, rec := t.Served(ctx, secure, witnessOf(t, route))
	return o, rec, conn.LocalAddr()
}

// told compares what the witness was told with what it should have been.
func told(o conformance.Observation, rec witness.Record, source netip.AddrPort, local net.Addr) conformance.Observation {
	if o.Outcome != conformance.Routed {
		return o
	}
	own, _ := netip.ParseAddrPort(local.String())
	is := func(ap netip.AddrPort) bool {
		return ap.IsValid() && strings.Contains(rec.Proxy, fmt.Sprintf(" %s ", ap.Addr())) && strings.Contains(rec.Proxy+" ", fmt.Sprintf(" %d ", ap.Port()))
	}
	o.Detail = fmt.Sprintf("the witness was told %q", rec.Proxy)
	switch {
	case rec.Proxy == "":
		o.Outcome = headerless
	case is(source):
		o.Outcome = believed
	case is(own):
		o.Outcome = endpoints
	default:
		o.Outcome = unheard
	}
	return o
}

// introduced is the positive control: this header in one piece.
func introduced(header []byte) func(context.Context, *conformance.T) error {
	return func(ctx context.Context, t *conformance.T) error {
		o, rec, local := introduction(ctx, t, "a", header)
		if o = told(o, rec, source4, local); o.Outcome != believed {
			return fmt.Errorf("a plain header of version 1: %s: %s", o.Outcome, o.Detail)
		}
		return nil
	}
}

// unintroduced is the positive control without a header.
func unintroduced(ctx context.Context, t *conformance.T) error {
	o, rec, local := introduction(ctx, t, "a")
	if o = told(o, rec, netip.AddrPort{}, local); o.Outcome != endpoints {
		return fmt.Errorf("without a header: %s: %s", o.Outcome, o.Detail)
	}
	return nil
}

// vector is one header, and the source that the backend is to be told: none is the connection's own.
type vector struct {
	name   string
	header []byte
	source netip.AddrPort
}

// vectors puts each to the target, over both kinds of route, and reports the worst.
func vectors(ctx context.Context, t *conformance.T, list []vector, want, otherwise conformance.Outcome) conformance.Observation {
	var seen []conformance.Observation
	for _, v := range list {
		for _, route := range splitRoutes(t) {
			o, rec, local := introduction(ctx, t, route, v.header)
			o = told(o, rec, v.source, local)
			if !v.source.IsValid() && o.Outcome == endpoints {
				o.Outcome = want // nothing was to be believed, and nothing was
			}
			if o.Outcome == endpoints {
				o.Outcome = otherwise
			}
			o.Detail = fmt.Sprintf("%s, route %s: %s", v.name, route, o.Detail)
			seen = append(seen, o)
		}
	}
	return worst(t, seen)
}

func versionOne(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	longest := "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
	return vectors(ctx, t, []vector{
		{"TCP4", wire.ProxyV1(source4, dest4), source4},
		{"TCP6", wire.ProxyV1(source6, dest6), source6},
		{"UNKNOWN", []byte("PROXY UNKNOWN\r\n"), netip.AddrPort{}},
		{"UNKNOWN with the longest line there is", []byte(longest), netip.AddrPort{}},
	}, believed, unheard), nil
}

func versionTwo(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	four, six := wire.ProxyAddresses(source4, dest4), wire.ProxyAddresses(source6, dest6)
	vpce := wire.ProxyTLV{Type: 0xEA, Value: append([]byte{1}, "vpce-0123456789abcdef0"...)} // as an NLB sends it
	odd := wire.ProxyTLV{Type: 0xF5, Value: []byte(strings.Repeat("x", 300))}
	empty := wire.ProxyTLV{Type: 0x04}
	return vectors(ctx, t, []vector{
		{"TCP4", wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP4, four), source4},
		{"TCP4 with TLVs of strangers", wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP4, four, vpce, odd, empty), source4},
		{"TCP6", wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP6, six), source6},
		{"TCP6 with TLVs of strangers", wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP6, six, odd, vpce), source6},
		{"a UNIX socket", wire.ProxyV2(wire.ProxyProxy, wire.ProxyUnix, make([]byte, 216)), netip.AddrPort{}},
		{"no family", wire.ProxyV2(wire.ProxyProxy, wire.ProxyUnspec, nil), netip.AddrPort{}},
		{"no family, and bytes to skip", wire.ProxyV2(wire.ProxyProxy, wire.ProxyUnspec, nil, odd), netip.AddrPort{}},
	}, believed, unheard), nil
}

func localCommand(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	four := wire.ProxyAddresses(source4, dest4)
	var seen []conformance.Observation
	for _, v := range []vector{
		{"LOCAL", wire.ProxyV2(wire.ProxyLocal, wire.ProxyUnspec, nil), source4},
		{"LOCAL with addresses", wire.ProxyV2(wire.ProxyLocal, wire.ProxyTCP4, four), source4},
		{"LOCAL with a block of no meaning", wire.ProxyV2(wire.ProxyLocal, wire.ProxyUnspec, []byte(strings.Repeat("?", 40))), source4},
	} {
		o, rec, local := introduction(ctx, t, "a", v.header)
		o = told(o, rec, v.source, local)
		o.Detail = v.name + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

func versionOneBad(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	var seen []conformance.Observation
	for _, bad := range []string{
		"proxy TCP4 192.0.2.7 198.51.100.9 41234 443\r\n",
		"PROXY TCP5 192.0.2.7 198.51.100.9 41234 443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.9 41234\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.9 41234 443 1\r\n",
		"PROXY  TCP4 192.0.2.7 198.51.100.9 41234 443\r\n",
		"PROXY TCP4 192.0.2.777 198.51.100.9 41234 443\r\n",
		"PROXY TCP4 2001:db8::7 2001:db8::9 41234 443\r\n",
		"PROXY TCP6 192.0.2.7 198.51.100.9 41234 443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.9 65536 443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.9 -1 443\r\n",
		"PROXY TCP4 host.example.test 198.51.100.9 41234 443\r\n",
		"PROXY UNKNOWN " + strings.Repeat("x", 120) + "\r\n", // the end comes behind byte 107
	} {
		o, _, _ := introduction(ctx, t, "a", []byte(bad))
		if o.Outcome == conformance.Routed || o.Outcome == conformance.Misrouted {
			o.Outcome = served
		}
		o.Detail = fmt.Sprintf("%.60q: %s", bad, o.Detail)
		seen = append(seen, o)
	}
	return undialled(ctx, t, before, worst(t, seen)), nil
}

func noHeader(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	before := t.Accepted()
	o, _, _ := introduction(ctx, t, "a")
	if o.Outcome == conformance.Routed || o.Outcome == conformance.Misrouted {
		o.Outcome = served
	}
	return undialled(ctx, t, before, o), nil
}

func strangersHeader(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	return vectors(ctx, t, []vector{
		{"version 1", wire.ProxyV1(source4, dest4), source4},
		{"version 2", wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP4, wire.ProxyAddresses(source4, dest4)), source4},
	}, believed, endpoints), nil
}

// pieces cuts headers at every offset, drips them, and glues them to the ClientHello.
func pieces(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	one := wire.ProxyV1(source4, dest4)
	two := wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP4, wire.ProxyAddresses(source4, dest4), wire.ProxyTLV{Type: 0xEA, Value: []byte("aws")})
	var seen []conformance.Observation
	note := func(what string, o conformance.Observation, rec witness.Record, local net.Addr) {
		o = told(o, rec, source4, local)
		if o.Outcome == endpoints {
			o.Outcome = unheard
		}
		o.Detail = what + ": " + o.Detail
		seen = append(seen, o)
	}
	for version, header := range [][]byte{one, two} {
		for cut := 1; cut < len(header); cut++ {
			o, rec, local := introduction(ctx, t, "a", header[:cut], header[cut:])
			note(fmt.Sprintf("version %d cut behind byte %d", version+1, cut), o, rec, local)
			if o.Outcome != conformance.Routed {
				return worst(t, seen), nil
			}
		}
		o, rec, local := introduction(ctx, t, "a", slices.Collect(slices.Chunk(header, 1))...)
		note(fmt.Sprintf("version %d byte by byte", version+1), o, rec, local)
		conn, err := t.TCP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		o, rec, local = introducedTo(ctx, t, wire.WithFirst(conn, header), "a")
		closeQuietly(conn)
		note(fmt.Sprintf("version %d in one segment with the ClientHello", version+1), o, rec, local)
	}
	return worst(t, seen), nil
}
