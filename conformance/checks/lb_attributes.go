package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Outcomes of checks of what a balancer's attributes do to a request's fields.
const (
	clientPort  conformance.Outcome = "client-port"
	modeIgnored conformance.Outcome = "mode-ignored"
	hostChanged conformance.Outcome = "host-changed"
	tlsNamed    conformance.Outcome = "tls-named"
	tlsUnnamed  conformance.Outcome = "tls-not-named"
	tlsMisnamed conformance.Outcome = "tls-named-otherwise"
)

func init() {
	const attributes, headers = "AWS, Application Load Balancers: attributes", "AWS, HTTP headers and Application Load Balancers"
	needs := []string{door.FeatureAttributes}
	variant(conformance.Check{
		ID: "ALB-HDR-02", Slug: "alb-client-port", Level: conformance.Must, Features: needs,
		Title: "With xff_client_port the client's port is behind its address, unless the mode is preserve or remove",
		Why: "Many clients behind one NAT are told apart by the port alone. A target that parses the field breaks on a port that it does not " +
			"expect, so it must come when it is asked for, and with neither of the modes in which the balancer adds nothing.",
		Clauses: clauses(fact("ALB-HDR-02", "D", headers, awsDocs+"application/x-forwarded-headers.html")),
		Accept:  pass("address:port of the client's connection is appended; preserve leaves the list, remove takes it", clientPort), Run: portOfClient,
		Forbid: map[conformance.Outcome]string{notAdded: "the last entry is not the client's address and port", modeIgnored: "the mode preserve or remove was overridden"},
	})
	variant(conformance.Check{
		ID: "ALB-HDR-07", Slug: "alb-preserve-host", Level: conformance.Must, Features: needs,
		Title: "With preserve_host_header Host reaches the target as the client sent it",
		Why: "Some targets sign what they get, Host with it, or build addresses from it. Operators set the attribute for them and find out only " +
			"with an unusual client whether it holds for case and port.",
		Clauses: clauses(fact("ALB-HDR-07", "D", attributes, attributesPage)),
		Accept:  pass("the same bytes", hostKept),
		Run:     altered(attribute("routing.http.preserve_host_header.enabled", true), preservedHost),
		Forbid:  map[conformance.Outcome]string{hostChanged: "case or port was changed", hostMissing: "there is no Host, or more than one"},
	})
	variant(conformance.Check{
		ID: "ALB-HDR-12", Slug: "alb-tls-fields", Level: conformance.Must, Features: needs,
		Title: "With the attribute for it the target is told the client's TLS version and suite, in OpenSSL's names",
		Why: "Targets count by these fields which clients still speak old TLS before the policy is made stricter. Another spelling falls through " +
			"the count, and the clients are cut off.",
		Clauses: clauses(fact("ALB-HDR-12", "D", attributes, attributesPage)),
		Accept:  pass("both fields say what the client's own end says", tlsNamed), Run: overTLS(tlsFields),
		Forbid: map[conformance.Outcome]string{tlsUnnamed: "a field is missing, or there twice", tlsMisnamed: "a field says something else", forged: "the fields are there though the attribute is off"},
	})
}

// altered runs a check on an instance with another document.
func altered(change func(*door.Balancer), run func(context.Context, *conformance.T) (conformance.Observation, error)) func(context.Context, *conformance.T) (conformance.Observation, error) {
	return func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
		if err := t.Relaunch(ctx, change); err != nil {
			return conformance.Observation{}, err
		}
		return run(ctx, t)
	}
}

// attribute sets one of the load balancer.
func attribute(key string, value any) func(*door.Balancer) {
	return attributes(map[string]any{key: value})
}

func attributes(all map[string]any) func(*door.Balancer) {
	return func(doc *door.Balancer) { doc.Attributes = all }
}

// portOfClient compares with the port that the client's end of the connection has: nothing stands before an instance.
func portOfClient(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const sent = "192.0.2.4"
	for _, mode := range []string{"append", "preserve", "remove"} {
		err := t.Relaunch(ctx, attributes(map[string]any{"routing.http.xff_client_port.enabled": true, "routing.http.xff_header_processing.mode": mode}))
		if err != nil {
			return conformance.Observation{}, err
		}
		front, err := t.HTTP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		req, err := reachesOn(ctx, t, front, get(t, "X-Forwarded-For: "+sent))
		if err != nil {
			return unlessAlone(err)
		}
		got := strings.Join(req.Header.Values("X-Forwarded-For"), ", ")
		want := map[string]string{"append": sent + ", " + front.LocalAddr().String(), "preserve": sent, "remove": ""}[mode]
		switch {
		case got == want:
		case mode == "append":
			return saw(notAdded, "sent %q from %v, the target got %q", sent, front.LocalAddr(), got), nil
		default:
			return saw(modeIgnored, "mode %s: sent %q, the target got %q", mode, sent, got), nil
		}
	}
	return saw(clientPort, "in mode append, and nothing added in modes preserve and remove"), nil
}

func preservedHost(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	up := t.Path.Upgrade
	name := up.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	sent := strings.ToUpper(name[:1]) + name[1:] + ":443"
	req, err := reaches(ctx, t, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n\r\n", up.Path, sent))
	if err != nil {
		return unlessAlone(err)
	}
	switch got := req.Header.Values("Host"); {
	case len(got) != 1:
		return saw(hostMissing, "sent %q, the target got %q", sent, got), nil
	case got[0] != sent:
		return saw(hostChanged, "sent %q, the target got %q", sent, got[0]), nil
	}
	return saw(hostKept, "%q", sent), nil
}

// openSSLNames are the suites of a TLS 1.2 client here and those of TLS 1.3, whose names are the same everywhere.
var openSSLNames = map[uint16]string{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256", tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_AES_128_GCM_SHA256: "TLS_AES_128_GCM_SHA256", tls.TLS_AES_256_GCM_SHA384: "TLS_AES_256_GCM_SHA384", tls.TLS_CHACHA20_POLY1305_SHA256: "TLS_CHACHA20_POLY1305_SHA256",
}

func tlsFields(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const version, suite = "X-Amzn-Tls-Version", "X-Amzn-Tls-Cipher-Suite"
	req, err := reaches(ctx, t, get(t))
	if err != nil {
		return unlessAlone(err)
	}
	if got := append(req.Header.Values(version), req.Header.Values(suite)...); len(got) > 0 {
		return saw(forged, "the attribute is off, and the target got %q", got), nil
	}
	if err := t.Relaunch(ctx, attribute("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", true)); err != nil {
		return conformance.Observation{}, err
	}
	c, err := t.TCP(ctx)
	if err != nil {
		return conformance.Observation{}, err
	}
	up := t.Path.Upgrade
	front, err := t.TLS(ctx, c, &tls.Config{
		ServerName: up.ServerName, RootCAs: up.Roots, MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		return conformance.Observation{}, fmt.Errorf("TLS with the instance: %w", err)
	}
	if req, err = reachesOn(ctx, t, front, get(t)); err != nil {
		return unlessAlone(err)
	}
	state := front.ConnectionState()
	for name, want := range map[string]string{version: "TLSv" + tls.VersionName(state.Version)[len("TLS "):], suite: openSSLNames[state.CipherSuite]} {
		switch got := req.Header.Values(name); {
		case len(got) != 1:
			return saw(tlsUnnamed, "%s: %q", name, got), nil
		case got[0] != want:
			return saw(tlsMisnamed, "%s: %s where it is %s", name, got[0], want), nil
		}
	}
	return saw(tlsNamed, "%s, %s", req.Header.Get(version), req.Header.Get(suite)), nil
}
