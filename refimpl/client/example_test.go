package client_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// A database driver takes DialContext as its dial function. It must not start TLS itself, since the connection is the inner TLS session
// already (sslmode=disable), and must not look the name up, which need not exist outside the router.
func ExampleDialer_DialContext() {
	d := &client.Dialer{Address: "lb.example.com:443", ServerName: "pg.example.com", ALPN: []string{"teleport-postgres"}}

	config, err := pgx.ParseConfig("postgres://user@pg.example.com/db?sslmode=disable")
	if err != nil {
		fmt.Println(err)
		return
	}
	config.DialFunc = d.DialContext
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	// conn, err := pgx.ConnectConfig(ctx, config)
	fmt.Println(config.Host, config.TLSConfig == nil, len(config.Fallbacks))
	// Output: pg.example.com true 0
}

// SSH runs inside the inner TLS session, and checks the host key by itself.
func ExampleDialer_Dial_ssh() {
	d := &client.Dialer{Address: "lb.example.com:443", ServerName: "ssh.example.com", ALPN: []string{"teleport-proxy-ssh"}, Ping: true}
	connect := func(ctx context.Context, config *ssh.ClientConfig) (*ssh.Client, error) {
		conn, err := d.Dial(ctx)
		if err != nil {
			return nil, err
		}
		conn.SetDeadline(time.Now().Add(15 * time.Second)) // ssh bounds no handshake on a connection that it is given
		session, channels, requests, err := ssh.NewClientConn(conn, "ssh.example.com:22", config)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn.SetDeadline(time.Time{})
		return ssh.NewClient(session, channels, requests), nil
	}
	_ = connect
}

// http.Transport takes DialTLSContext, and speaks h2 where it was negotiated when it is forced to attempt it. With DialContext instead
// it would run TLS inside the inner TLS session. The router is played by a web server.
func ExampleDialer_DialTLSContext() {
	router := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host)
	}))
	router.EnableHTTP2 = true
	router.StartTLS()
	defer router.Close()
	roots := x509.NewCertPool()
	roots.AddCert(router.Certificate())

	d := &client.Dialer{
		Address: router.Listener.Addr().String(), ServerName: "example.com", ALPN: []string{"h2", "http/1.1"}, InnerRoots: roots,
	}
	transport := &http.Transport{DialTLSContext: d.DialTLSContext, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://app.example.com/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Proto, string(body), err)
	// Output: HTTP/2.0 app.example.com <nil>
}

// Proxies are those of the environment, and what was found out about a path is kept for the next connection.
func ExampleMemory() {
	var memory client.Memory
	d := &client.Dialer{
		Address: "lb.example.com", ServerName: "pg.example.com", ALPN: []string{"teleport-postgres"},
		Proxy: client.ProxyFromEnvironment, Memory: &memory,
	}
	_ = d
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
