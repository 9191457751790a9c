package checks

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
)

// emitting is the fixture with backends that are told of the source: route b by version 1, routes a and pass by version 2.
var emitting = &conformance.Setup{Name: "send_proxy", Change: func(_ conformance.Fixture, doc *door.Router) {
	for i := range doc.Routes {
		switch r := &doc.Routes[i]; r.Name {
		case "a", "pass":
			r.Backend.SendProxy = "v2"
		case "b":
			r.Backend.SendProxy = "v1"
		}
	}
}}

const (
	untold   conformance.Outcome = "no-tlv"
	verified conformance.Outcome = "verified"
)

func init() {
	conformance.Register(conformance.Check{
		ID: "SRC-07", Slug: "emit", Level: conformance.Must, Origin: conformance.Vendor, Role: conformance.Router,
		Title: "A backend that is to be told of the source gets one header, before everything else, that says what is so",
		Why: "The backend believes the header, for its logs and for pg_hba.conf. One that is missing, comes twice or behind the first byte, " +
			"or names the router, breaks the protocol of the backend or the audit trail.",
		Clauses: clauses(proxySpec("2"), proxySpec("2.1"), proxySpec("2.2")), Setup: emitting, Transports: directOnly, Features: []string{"terminate", "proxy-out"},
		Accept: pass("the header is the first and names the client's end of the connection", endpoints),
		Forbid: map[conformance.Outcome]string{
			headerless: "the backend got no header", unheard: "the header names another source", misreported: "the header is of another version",
			conformance.Lost: "what came behind the header was not the client's first byte",
		},
		Control: opens("a"), Run: emits,
	})
	conformance.Register(conformance.Check{
		ID: "SRC-08", Slug: "emit-tlv", Level: conformance.Should, Origin: conformance.Vendor, Role: conformance.Router,
		Title: "The TLVs that go with the header say what is so: the name, the ALPN, and whether TLS was taken off",
		Why: "A backend behind a terminating router knows the name and the protocol from the TLVs alone. One that says SSL where TLS was only " +
			"passed on has the backend answer in plaintext what the client expects encrypted.",
		Clauses: clauses(proxySpec("2.2.1"), proxySpec("2.2.2"), proxySpec("2.2.6")), Setup: emitting, Transports: directOnly,
		Features: []string{"terminate", "proxy-out", "proxy-tlv"},
		Accept:   pass("AUTHORITY is the SNI, ALPN the one confirmed, and SSL is there where TLS ended", verified),
		Forbid:   map[conformance.Outcome]string{untold: "a TLV is missing", misreported: "a TLV says what is not so"},
		Control:  opens("a"), Run: emitsTLVs,
	})
	conformance.Register(conformance.Check{
		ID: "SRC-09", Slug: "crc32c", Tags: []string{conformance.Counts}, Level: conformance.Must, Origin: conformance.Vendor, Role: conformance.Router,
		Title:   "A header whose CRC32c is wrong is an error",
		Why:     "The checksum is there for addresses that arrive damaged. Who claims to verify it and does not, logs them.",
		Clauses: clauses(proxySpec("2.2.3")), Setup: proxied("required", loopback), Transports: directOnly,
		Features: append(slices.Clone(fromProxy), "proxy-crc32c"),
		Accept:   pass("a receiver that supports the checksum must treat a mismatch as an error", closed),
		Forbid:   map[conformance.Outcome]string{served: "a header with a wrong checksum was believed", conformance.Dialled: "a backend was dialled"},
		Control: func(ctx context.Context, t *conformance.T) error {
			return introduced(summed(0))(ctx, t)
		},
		Run: func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
			before := t.Accepted()
			o, _, _ := introduction(ctx, t, "a", summed(1))
			if o.Outcome == conformance.Routed {
				o.Outcome = served
			}
			return undialled(ctx, t, before, o), nil
		},
	})
}

func emits(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	routes := map[string]int{"a": 2, "b": 1}
	if has(t, "passthrough") {
		routes["pass"] = 2
	}
	var seen []conformance.Observation
	for _, route := range []string{"a", "b", "pass"} {
		version, ok := routes[route]
		if !ok {
			continue
		}
		o, rec, local := introduction(ctx, t, route)
		if o = told(o, rec, netip.AddrPort{}, local); o.Outcome == endpoints && rec.ProxyVersion != version {
			o.Outcome = misreported
			o.Detail = fmt.Sprintf("version %d, not %d: %s", rec.ProxyVersion, version, o.Detail)
		}
		o.Detail = "route " + route + ": " + o.Detail
		seen = append(seen, o)
	}
	return worst(t, seen), nil
}

// The TLVs that are looked for, as the witness names them.
const (
	tlvALPN      = "01"
	tlvAuthority = "02"
	tlvSSL       = "20"
)

func emitsTLVs(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	var seen []conformance.Observation
	for _, route := range splitRoutes(t) {
		cfg, err := t.Config(route)
		if err != nil {
			return conformance.Observation{}, err
		}
		o, rec, _ := introduction(ctx, t, route)
		if o.Outcome != conformance.Routed {
			seen = append(seen, o)
			continue
		}
		say := func(outcome conformance.Outcome, format string, args ...any) {
			seen = append(seen, conformance.Observation{Outcome: outcome, Detail: "route " + route + ": " + fmt.Sprintf(format, args...)})
		}
		want := map[string]string{tlvAuthority: hex.EncodeToString([]byte(cfg.ServerName))}
		if route != "pass" {
			want[tlvALPN] = hex.EncodeToString([]byte(cfg.NextProtos[0]))
		}
		for kind, value := range want {
			switch got, there := rec.ProxyTLVs[kind]; {
			case !there:
				say(untold, "no TLV of type 0x%s", kind)
			case got != value:
				say(misreported, "TLV 0x%s is %s, not %s", kind, got, value)
			}
		}
		ssl, err := hex.DecodeString(rec.ProxyTLVs[tlvSSL])
		const clientSSL = 0x01 // PP2_CLIENT_SSL
		says := err == nil && len(ssl) > 0 && ssl[0]&clientSSL != 0
		switch {
		case route == "pass" && says:
			say(misreported, "the TLV says that TLS was taken off, and it was passed on")
		case route != "pass" && !says:
			say(untold, "no TLV says that TLS was taken off")
		}
		say(verified, "%v", rec.ProxyTLVs)
	}
	return worst(t, seen), nil
}

// summed is a header with a CRC32c that is off by so much.
func summed(off uint32) []byte {
	header := wire.ProxyV2(wire.ProxyProxy, wire.ProxyTCP4, wire.ProxyAddresses(source4, dest4), wire.ProxyTLV{Type: 0x03, Value: make([]byte, 4)})
	sum := crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(header[len(header)-4:], sum+off)
	return header
}
