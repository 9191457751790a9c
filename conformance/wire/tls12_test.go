package wire

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// A server of crypto/tls reads the second ClientHello, or its alert would be about the record (20, bad_record_mac).
func TestRenegotiatorIsUnderstood(t *testing.T) {
	leaf, err := certs.SelfSigned(certs.Leaf{CommonName: "x", DNS: []string{"x.example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	said := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			said <- err
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{leaf}}).Read(make([]byte, 1))
		said <- err
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r, err := NewRenegotiator(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // nobody vouches for it
	if err != nil {
		t.Fatal(err)
	}
	typ, err := r.Renegotiate("x.example.test")
	if err != nil || typ != recordAlert {
		t.Errorf("a record of type %d, %v; want an alert", typ, err)
	}
	if err := <-said; err == nil || !strings.Contains(err.Error(), "clientHelloMsg") {
		t.Errorf("the server said %v", err)
	}
}
