package splice_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/tlsroute/tlsroute-bench/refimpl/splice"
)

// pair is a TCP connection over loopback.
func pair() (dialled, accepted net.Conn, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	if dialled, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		return nil, nil, err
	}
	accepted, err = listener.Accept()
	return dialled, accepted, err
}

// The client ends its side and still reads the answer: a half-close crosses as one.
func ExampleJoin() {
	client, front, err := pair()
	if err != nil {
		fmt.Println(err)
		return
	}
	back, service, err := pair()
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		defer service.Close()
		question, _ := io.ReadAll(service) // an abort would be seen below
		fmt.Fprintf(service, "%d bytes read", len(question))
	}()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer client.Close()
		fmt.Fprint(client, "a question")
		_ = client.(*net.TCPConn).CloseWrite() // the same
		answer, err := io.ReadAll(client)
		fmt.Printf("%s, %v\n", answer, err)
	}()

	report := splice.Join(context.Background(), front, back, splice.Options{})
	<-answered
	fmt.Println(report.End, report.AToB, report.BToA, report.Err)
	// Output:
	// 10 bytes read, <nil>
	// eof 10 13 <nil>
}
