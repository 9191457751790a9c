package checks

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/internal/netx"
)

// Outcomes of checks that need another instance.
const (
	byTurns   conformance.Outcome = "by-turns"
	oneTarget conformance.Outcome = "one-target"
	uneven    conformance.Outcome = "uneven"
	ecdsaRSA  conformance.Outcome = "ecdsa-before-rsa"
	wrongKey  conformance.Outcome = "other-key"
)

// variant registers a check of an instance with another document. Its control starts one with the document as it is.
func variant(c conformance.Check) {
	c.Timeout, c.Relaunches = time.Minute, true
	c.Control = func(ctx context.Context, t *conformance.T) error {
		if err := t.Relaunch(ctx, func(*door.Balancer) {}); err != nil {
			return err
		}
		return carries(ctx, t)
	}
	balancer(c)
}

func init() {
	const trouble = "AWS, Application Load Balancers: troubleshooting"
	variant(conformance.Check{
		ID: "ALB-ERR-02", Slug: "alb-no-targets", Level: conformance.Must,
		Title: "A group without targets is answered with 503",
		Why: "A deployment that takes its last target away shows as 503, one whose targets crash as 502. Whoever is called at night reads from the " +
			"number where to look.",
		Clauses: clauses(fact("ALB-ERR-02", "D", trouble, troublePage)),
		Accept:  pass("503", conformance.HTTPStatus(503)), Run: relaunched(func(doc *door.Balancer) error { doc.Targets = []door.BalancerTarget{}; return nil }),
		Forbid: map[conformance.Outcome]string{conformance.HTTPStatus(502): "502 is for a target that is there and fails", conformance.HTTPStatus(504): "504 is for a target that is silent"},
	})
	variant(conformance.Check{
		ID: "ALB-ERR-03", Slug: "alb-target-refuses", Level: conformance.Must,
		Title: "A target that refuses the connection is 502 to the client",
		Why: "A target whose process has ended refuses connections until the health check has noticed. The client's library tries 502 and 503 again, " +
			"or does not, by what the numbers are said to mean.",
		Clauses: clauses(fact("ALB-ERR-03", "D", trouble, troublePage)),
		Accept:  pass("502", conformance.HTTPStatus(502)), Run: refusedTarget,
		Forbid: map[conformance.Outcome]string{conformance.HTTPStatus(503): "503 is for a group without targets", conformance.HTTPStatus(504): "504 is for a target that is silent"},
	})
	variant(conformance.Check{
		ID: "ALB-TG-01", Slug: "alb-round-robin", Level: conformance.Must,
		Title: "Two targets get requests by turns",
		Why: "Operators count on half of the load, and half of the errors, when one of two targets is new. What the other algorithm, least " +
			"outstanding requests, does is not looked at: it has to be asked for.",
		Clauses: clauses(fact("ALB-TG-01", "D", "AWS, Application Load Balancers: target groups", groupsPage)),
		Accept:  pass("each gets half of ten requests", byTurns), Run: twoTargets,
		Forbid: map[conformance.Outcome]string{oneTarget: "one target gets everything", uneven: "not half each"},
	})
	variant(conformance.Check{
		ID: "ALB-TLS-10", Slug: "alb-smart-certificate", Level: conformance.Must,
		Title: "Of two certificates for a name the ECDSA one goes before the RSA one, as far as the client can take it",
		Why: "Sites keep an RSA certificate for old clients beside the ECDSA one. A balancer that shows the wrong one of them cuts the old clients " +
			"off, or makes every handshake dearer than it need be.",
		Clauses: clauses(fact("ALB-TLS-10", "D", "AWS, Application Load Balancers: HTTPS listeners", httpsPage)),
		Accept:  pass("ECDSA to a client of today, RSA to one that has no other suites", ecdsaRSA), Run: overTLS(twoCertificates),
		Forbid: map[conformance.Outcome]string{wrongKey: "the other certificate was shown", conformance.Alert(40): "the client that has RSA only was refused"},
	})
}

// relaunched sends a request to an instance with a changed document, whose target is not the stub.
func relaunched(change func(*door.Balancer) error) func(context.Context, *conformance.T) (conformance.Observation, error) {
	return func(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
		var changed error
		if err := t.Relaunch(ctx, func(doc *door.Balancer) { changed = change(doc) }); err != nil || changed != nil {
			return conformance.Observation{}, errors.Join(err, changed)
		}
		front, err := t.HTTP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		o, _, _ := decidesWithin(ctx, t, front, get(t), targetPatience*t.Wait())
		return o, front.Close()
	}
}

func refusedTarget(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	dead, release, err := netx.Refuse()
	if err != nil {
		return conformance.Observation{}, err
	}
	o, err := relaunched(func(doc *door.Balancer) error {
		doc.Targets = []door.BalancerTarget{{Address: dead}}
		return nil
	})(ctx, t)
	return o, errors.Join(err, release())
}

// twoTargets plays both targets, over plain HTTP. Each request comes when the one before has been answered.
func twoTargets(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	const requests = 10
	came := make(chan int)
	var targets []door.BalancerTarget
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range 2 {
		ln, err := t.Listen(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		targets = append(targets, door.BalancerTarget{Address: ln.Addr().String()})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			answersAll(ctx, t, ln, servedByTarget, func() {
				select {
				case came <- i:
				case <-ctx.Done():
				}
			})
		}()
		defer func() {
			cancel()
			_ = ln.Close()
			<-ended
		}()
	}
	if err := t.Relaunch(ctx, func(doc *door.Balancer) { doc.Targets = targets }); err != nil {
		return conformance.Observation{}, err
	}
	var counts [2]int
	for n := range requests {
		front, err := t.HTTP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		if err := bounded(t, front, []byte(get(t))); err != nil {
			return conformance.Observation{}, err
		}
		select {
		case i := <-came:
			counts[i]++
		case <-time.After(t.Wait()):
			return saw(conformance.Timeout, "request %d reached neither target", n+1), nil
		}
		resp, _, err := wire.ReadResponse(front)
		_ = front.Close()
		if err != nil || resp.Status != 200 {
			return conformance.Observation{}, fmt.Errorf("request %d was answered with %+v: %w", n+1, resp, err)
		}
	}
	switch {
	case counts[0] == requests/2:
		return saw(byTurns, "%d and %d", counts[0], counts[1]), nil
	case counts[0] == 0 || counts[1] == 0:
		return saw(oneTarget, "%d and %d", counts[0], counts[1]), nil
	}
	return saw(uneven, "%d and %d", counts[0], counts[1]), nil
}

// answersAll answers one request on each connection until the listener is closed.
func answersAll(ctx context.Context, t *conformance.T, ln net.Listener, answer string, came func()) {
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		c, err := t.Adopt(ctx, raw, "target")
		if err != nil {
			return
		}
		within(t, c)
		if _, _, err := wire.ReadRequest(c); err == nil {
			came()
			_ = answerAndEnd(t, c, answer)
		}
		_ = c.Close()
	}
}

// twoCertificates gives the listener an RSA certificate first, so that the order of the document does not help.
func twoCertificates(ctx context.Context, t *conformance.T) (conformance.Observation, error) {
	dir, err := os.MkdirTemp("", "trb-certificates-")
	if err != nil {
		return conformance.Observation{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name := t.Path.Upgrade.ServerName
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rsaKey, rsaErr := rsa.GenerateKey(rand.Reader, 2048)
	if err = errors.Join(err, rsaErr); err != nil {
		return conformance.Observation{}, err
	}
	var files []door.Certificate
	for kind, key := range []crypto.Signer{rsaKey, ecKey} {
		file, err := certificateFiles(filepath.Join(dir, fmt.Sprint(kind)), name, key)
		if err != nil {
			return conformance.Observation{}, err
		}
		files = append(files, file)
	}
	if err := t.Relaunch(ctx, func(doc *door.Balancer) { doc.Certificates = files }); err != nil {
		return conformance.Observation{}, err
	}
	for _, c := range []struct {
		who    string
		suites []uint16
		want   x509.PublicKeyAlgorithm
	}{
		{"a client of today", nil, x509.ECDSA},
		{"a client with RSA suites only", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}, x509.RSA},
	} {
		conn, err := t.TCP(ctx)
		if err != nil {
			return conformance.Observation{}, err
		}
		session, err := t.TLS(ctx, conn, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: c.suites, InsecureSkipVerify: true}) //nolint:gosec // it is what is asked about
		if err != nil {
			return conformance.Observation{Outcome: t.Outcome(err), Detail: c.who + ": " + err.Error()}, nil
		}
		if got := session.ConnectionState().PeerCertificates[0].PublicKeyAlgorithm; got != c.want {
			return saw(wrongKey, "%s got %v", c.who, got), nil
		}
	}
	return saw(ecdsaRSA, "of two certificates for %s", name), nil
}

// certificateFiles makes a self-signed certificate for a name and writes it and its key in PEM.
func certificateFiles(base, name string, key crypto.Signer) (door.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return door.Certificate{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return door.Certificate{}, err
	}
	files := door.Certificate{Cert: base + ".pem", Key: base + "-key.pem"}
	return files, errors.Join(
		os.WriteFile(files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}
