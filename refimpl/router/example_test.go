package router_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// A document is judged as a whole before anything listens.
func ExampleNew() {
	_, err := router.New(router.Config{
		Listen: "127.0.0.1:8443",
		Routes: []router.Route{
			{Name: "db", ALPN: []string{"pg"}, Mode: router.ModePassthrough, Backend: router.Backend{Address: "localhost"}},
			{Name: "web", ALPN: []string{"pg"}, Mode: "pass", Backend: router.Backend{Address: "127.0.0.1:80"}},
		},
	}, router.Options{})
	fmt.Println(err)
	// Output:
	// routes[0].backend.address: "localhost" is not host:port
	// routes[1].mode: "pass" is none of terminate, passthrough
	// routes[1].sni: routes "db" and "web" both take any name with ALPN "pg"
}

// New, Listen, Serve; the context ends it with a drain. The endpoint answers plaintext HTTP too, and knows one path.
func ExampleServer_Serve() {
	server, err := router.New(router.Config{
		Listen: "127.0.0.1:0",
		Routes: []router.Route{{
			Name: "pg", SNI: []string{"pg.example.com"}, Mode: router.ModePassthrough, Backend: router.Backend{Address: "127.0.0.1:5432"},
		}},
	}, router.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if err := server.Listen(ctx); err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()

	conn, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+server.Addr().String()+"/", http.NoBody)
	if err == nil {
		request.Close = true
		err = request.Write(conn)
	}
	answer, readErr := io.ReadAll(conn)
	fmt.Printf("%.22s, %v, %v\n", answer, err, readErr)
	conn.Close()

	stop()
	fmt.Println("drained:", <-served)
	// Output:
	// HTTP/1.1 404 Not Found, <nil>, <nil>
	// drained: <nil>
}
