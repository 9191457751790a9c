package proxy_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
	"github.com/tlsroute/tlsroute-bench/refimpl/client/proxy"
)

// A local port for psql, until Ctrl-C.
func ExampleServer() {
	s := &proxy.Server{
		Kind:   proxy.Database,
		Dialer: &client.Dialer{Address: "lb.example.com:443", ServerName: "pg.example.com", ALPN: []string{"teleport-postgres"}},
		Say:    func(line string) { fmt.Fprintln(os.Stderr, line) },
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:5432")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := s.Serve(ctx, listener); err != nil {
		fmt.Println(err)
	}
}
