package client_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// A database driver takes DialContext as its dial function, and must not start TLS itself: the connection is the inner TLS
// session already. Here it is github.com/jackc/pgx, spelt out by the one field that matters.
func ExampleDialer_DialContext() {
	d := &client.Dialer{Address: "lb.example.com:443", ServerName: "pg.example.com", ALPN: []string{"teleport-postgres"}}

	// config, _ := pgx.ParseConfig("postgres://user@pg.example.com/db?sslmode=disable")
	var config struct {
		DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)
	}
	config.DialFunc = d.DialContext
	_ = config
}

// http.Transport has a dial function for connections that are encrypted when they come. With DialContext instead of
// DialTLSContext it would run TLS inside the inner TLS session.
func ExampleDialer_DialContext_http() {
	d := &client.Dialer{Address: "lb.example.com:443", ServerName: "app.example.com", ALPN: []string{"http/1.1"}}
	web := &http.Client{Transport: &http.Transport{DialTLSContext: d.DialContext}}
	_ = web
}

// The router is played by a TLS server that confirms the service's ALPN and echoes.
func ExampleDialer_Dial() {
	router := httptest.NewUnstartedServer(nil)
	router.StartTLS() // for its certificate
	defer router.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: router.TLS.Certificates, NextProtos: []string{"teleport-postgres"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn) // what is missing is missed below
	}()

	roots := x509.NewCertPool()
	roots.AddCert(router.Certificate())
	d := &client.Dialer{
		Address: listener.Addr().String(), ServerName: "example.com", ALPN: []string{"teleport-postgres"}, InnerRoots: roots,
	}
	conn, err := d.Dial(context.Background())
	if err != nil {
		fmt.Println(err) // names the path's class and every step that was tried
		return
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	line, err := bufio.NewReader(conn).ReadString('\n')
	info := conn.Info()
	fmt.Printf("%q, %v over a %s path, upgrade %q: %s\n", line, err, info.Class, info.Upgrade, info.Reason)
	// Output: "hello\n", <nil> over a direct path, upgrade "": the router confirmed ALPN "teleport-postgres"
}
