// Teleportclient is Teleport's published client at the end of a pipe: it dials a router through the connection upgrade, sends what it
// reads, half-closes, and writes what comes back. The environment variable TELEPORT_TLS_ROUTING_CONN_UPGRADE_MODE is the client's own.
//
// It is a module of its own, so that the client's dependencies stay out of ours.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gravitational/teleport/api/client"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: teleportclient ADDRESS SNI ALPN CA.pem")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, name, alpn, ca string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("no certificate in " + ca)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := client.DialALPN(ctx, address, client.ALPNDialerConfig{
		DialTimeout:             10 * time.Second,
		ALPNConnUpgradeRequired: true,
		TLSConfig: &tls.Config{
			ServerName: name, NextProtos: []string{alpn},
			// The client has one switch for both sessions; the outer one is a load balancer's as far as it knows. The inner is verified.
			InsecureSkipVerify: true,
			VerifyConnection: func(state tls.ConnectionState) error {
				_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
				return err
			},
		},
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got != alpn {
		return fmt.Errorf("ALPN %q confirmed, want %q", got, alpn)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, os.Stdin)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	_, err = io.Copy(os.Stdout, conn)
	if err != nil {
		return err // the router's end; standard input may be open
	}
	return <-sent
}
