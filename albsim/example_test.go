package albsim_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

func Example() {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Upgrade %q, Connection %q", r.Header.Get("Upgrade"), r.Header.Get("Connection"))
	}))
	defer target.Close()
	srv, err := albsim.New(albsim.Config{
		Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: albsim.Default{Forward: "web"}}},
		TargetGroups: []albsim.TargetGroup{{Name: "web", Protocol: "HTTP", Targets: []string{strings.TrimPrefix(target.URL, "http://")}}},
	}, albsim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := srv.Listen(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background()) }()

	req, _ := http.NewRequest("GET", "http://"+srv.Addrs()[0].String(), nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "alpn")
	tr := &http.Transport{}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	tr.CloseIdleConnections()
	fmt.Println(string(b))

	fmt.Println(srv.Shutdown(context.Background()), <-served)
	// Output:
	// Upgrade "alpn", Connection ""
	// <nil> <nil>
}
