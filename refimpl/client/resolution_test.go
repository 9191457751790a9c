package client

import (
	"net"
	"testing"
)

func TestResolutionIsOfNamesAlone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for host, want := range map[string]bool{"127.0.0.1": false, "localhost": true} {
		var r resolution
		conn, err := new(net.Dialer).DialContext(r.watch(t.Context()), "tcp4", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if took, ok := r.took(); ok != want || took < 0 {
			t.Errorf("%s: %v, %v", host, took, ok)
		}
	}
}
