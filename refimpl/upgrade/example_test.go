package upgrade_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// A server hands the connection, the reader that the request came from and the request to Accept. What the reader holds behind the
// request is the beginning of the tunnel.
func ExampleAccept() {
	client, conn := net.Pipe()
	go func() {
		defer client.Close()
		tunnel, err := upgrade.Dial(context.Background(), client, upgrade.ClientOptions{Type: "alpn", Host: "lb.example.com"})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.WriteString(tunnel, "the first bytes of a ClientHello") // the reader below prints what came of it
	}()

	br := bufio.NewReader(conn)
	req, err := http.ReadRequest(br)
	if err != nil {
		fmt.Println(err)
		return
	}
	tunnel, typ, err := upgrade.Accept(context.Background(), conn, br, req, upgrade.ServerOptions{})
	if err != nil {
		fmt.Println(err) // the refusal has been written
		return
	}
	defer tunnel.Close()
	first, err := io.ReadAll(tunnel)
	fmt.Printf("%s: %q, %v\n", typ, first, err)
	// Output: alpn: "the first bytes of a ClientHello", <nil>
}

// A client offers one token at a time. An answer other than the 101 says whether the connection can carry the next attempt.
func ExampleDial() {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		br := bufio.NewReader(server)
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(server, "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nno upgrade")
		}
	}()

	_, err := upgrade.Dial(context.Background(), client, upgrade.ClientOptions{Type: "websocket", Host: "lb.example.com"})
	if refused, ok := errors.AsType[*upgrade.StatusError](err); ok {
		fmt.Println(refused, "- reusable:", refused.Reusable)
	}
	// Output: upgrade websocket: status 403 ("no upgrade") - reusable: true
}

// A connection whose ALPN ends in "-ping" is framed without an upgrade.
func ExamplePingConn() {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		framed := upgrade.PingConn(server, 0)
		defer framed.Close()
		_, _ = io.WriteString(framed, "hi") // the reader below prints what came of it
	}()
	wire, err := io.ReadAll(client)
	fmt.Printf("%q, %v\n", wire, err)
	// Output: "\x00\x00\x00\x02hi", <nil>
}
