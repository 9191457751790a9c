package ours

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// ClientFeatures are those that our client has.
func ClientFeatures() []string { return []string{"websocket", "alpn", "alpn-ping"} }

// Dial has our client do what a check asks of a client under test.
func Dial(ctx context.Context, req conformance.DialRequest) (net.Conn, conformance.DialReport, error) {
	d := &client.Dialer{
		Address: req.Address, ServerName: req.SNI, ALPN: req.ALPN, InnerRoots: req.InnerRoots, OuterRoots: req.OuterRoots,
		Upgrade: req.Upgrade, OuterServerName: req.OuterSNI,
	}
	if req.Client != nil {
		d.Certificates = []tls.Certificate{*req.Client}
	}
	conn, err := d.Dial(ctx)
	if err != nil {
		return nil, conformance.DialReport{}, err
	}
	info := conn.Info()
	return conn, conformance.DialReport{Class: string(info.Class), Upgrade: info.Upgrade, ALPN: info.Negotiated}, nil
}

// ClientAdapter is the adapter of our client.
func ClientAdapter() door.Handler {
	return door.Handler{
		"describe": func(context.Context, door.Request) (door.Answer, error) {
			return door.Answer{Name: "tlsroute-bench client", Version: version(), Role: "client", Features: ClientFeatures()}, nil
		},
		"dial": func(ctx context.Context, r door.Request) (door.Answer, error) {
			req := conformance.DialRequest{Address: r.Address, SNI: r.SNI, ALPN: r.ALPN, Upgrade: r.Upgrade, OuterSNI: r.OuterSNI}
			if r.CA != nil {
				for _, bundle := range []struct {
					file string
					into **x509.CertPool
				}{{r.CA.Outer, &req.OuterRoots}, {r.CA.Inner, &req.InnerRoots}} {
					if bundle.file == "" {
						continue
					}
					pem, err := os.ReadFile(bundle.file)
					if err != nil {
						return door.Answer{}, err
					}
					*bundle.into = x509.NewCertPool()
					if !(*bundle.into).AppendCertsFromPEM(pem) {
						return door.Answer{}, fmt.Errorf("%s: no certificate in it", bundle.file)
					}
				}
			}
			if r.Client != nil {
				cert, err := tls.LoadX509KeyPair(r.Client.Cert, r.Client.Key)
				if err != nil {
					return door.Answer{}, err
				}
				req.Client = &cert
			}
			conn, report, err := Dial(ctx, req)
			if err != nil {
				return door.Answer{}, err
			}
			return door.Answer{
				Class: report.Class, UpgradeType: report.Upgrade, ALPN: report.ALPN,
				Then: func(in io.Reader, out io.Writer) error { return pump(in, out, conn) },
			}, nil
		},
	}
}
