package backend_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// A witness is asked for an echo, and then its log for what it saw.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := backend.Start(ctx, backend.Embedded, backend.Spec{Name: "echo", Kind: backend.Witness})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Close(ctx) }()
	conn, err := net.Dial("tcp", r.Address)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	first, err := witness.Ask(conn, witness.Order{Nonce: "n1", Do: witness.Echo})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("answered by", first.Witness)
	fmt.Fprint(conn, "hello")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		fmt.Println(err)
	}
	last, err := r.Witness.Wait(ctx, "n1", true)
	fmt.Println(last.In, last.End, err)
	// Output:
	// answered by echo
	// 5 eof <nil>
}
