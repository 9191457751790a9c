package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

func serverConfig(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"x"}}
}

// pair is a TCP connection, and what a server goroutine returned once it has ended.
func pair(t *testing.T, serve func(net.Conn) error) (net.Conn, func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	if err := errors.Join(client.SetDeadline(deadline), server.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	go func() { defer server.Close(); done <- serve(server) }()
	t.Cleanup(func() { client.Close() })
	return client, func() error { return <-done }
}

func TestSessionWithCryptoTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		auth  tls.ClientAuthType
		alert uint8
		alpn  []string
		polit bool // the server ends with close_notify
		end   error
	}{
		"plain":                     {alpn: []string{"\x0a\x0a", "x"}, polit: true, end: io.EOF},
		"cut off":                   {alpn: []string{"x"}, end: io.ErrUnexpectedEOF},
		"certificate asked for":     {auth: tls.RequestClientCert, alpn: []string{"x"}, polit: true, end: io.EOF},
		"no common ALPN":            {alpn: []string{"y"}, alert: 120},
		"no ALPN is none confirmed": {polit: true, end: io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := serverConfig(t)
			cfg.ClientAuth = tc.auth
			client, wait := pair(t, func(c net.Conn) error {
				conn := tls.Server(c, cfg)
				buf := make([]byte, 4)
				if _, err := io.ReadFull(conn, buf); err != nil {
					return err
				}
				_, err := conn.Write(buf)
				if tc.polit {
					err = errors.Join(err, conn.CloseWrite())
				}
				return err
			})
			msg, key, err := HelloTLS13(HelloOptions{SNI: "a.test", ALPN: tc.alpn, Versions: GREASE()[:1], Suites: GREASE()[:1]})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(slices.Concat(Records(msg, 100)...)); err != nil {
				t.Fatal(err)
			}
			s, err := Connect(client, msg, key)
			var alert *AlertError
			if tc.alert != 0 {
				if !errors.As(err, &alert) || alert.Code != tc.alert {
					t.Errorf("got %v, want alert %d", err, tc.alert)
				}
				_ = wait() // the server's own word for it is of no interest
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			got, end := []byte{}, error(nil)
			for buf := make([]byte, 2); end == nil; {
				var n int
				n, end = s.Read(buf)
				got = append(got, buf[:n]...)
			}
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			want := ""
			if tc.alpn != nil {
				want = "x"
			}
			if string(got) != "ping" || !errors.Is(end, tc.end) || s.ALPN != want || s.RequestedCert != (tc.auth != tls.NoClientCert) {
				t.Errorf("read %q, %v; ALPN %q, certificate requested %v", got, end, s.ALPN, s.RequestedCert)
			}
		})
	}
}

func TestEndWatchTellsCloseNotifyFromFIN(t *testing.T) {
	for polite, want := range map[bool]bool{true: false, false: true} {
		cfg := serverConfig(t)
		client, wait := pair(t, func(c net.Conn) error {
			conn := tls.Server(c, cfg)
			_, err := conn.Write([]byte("hi"))
			if polite {
				err = errors.Join(err, conn.CloseWrite())
			}
			return err
		})
		watch := NewEndWatch(client)
		got, err := io.ReadAll(tls.Client(watch, &tls.Config{InsecureSkipVerify: true}))
		if err = errors.Join(err, wait()); err != nil || string(got) != "hi" || watch.Ended() != want {
			t.Errorf("close_notify %v: read %q, %v; ended %v", polite, got, err, watch.Ended())
		}
	}
}
