package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

func TestSession12WithCryptoTLS(t *testing.T) {
	for name, auth := range map[string]tls.ClientAuthType{"plain": tls.NoClientCert, "certificate asked for": tls.RequestClientCert} {
		t.Run(name, func(t *testing.T) {
			cfg := serverConfig(t)
			cfg.ClientAuth = auth
			client, wait := pair(t, func(c net.Conn) error {
				conn := tls.Server(c, cfg)
				buf := make([]byte, 4)
				if _, err := io.ReadFull(conn, buf); err != nil {
					return err
				}
				if _, err := conn.Write(buf); err != nil {
					return err
				}
				_, err := io.Copy(io.Discard, conn) // the second ClientHello ends it
				return err
			})
			s, err := Connect12(client, "a.test", "y", "x")
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 4)
			if _, err := s.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, got); err != nil || string(got) != "ping" || s.ALPN != "x" {
				t.Fatalf("read %q, %v; ALPN %q", got, err, s.ALPN)
			}
			if err := s.Renegotiate("b.test", "x"); err != nil {
				t.Fatal(err)
			}
			_, err = s.Next()
			if alert, ok := errors.AsType[*AlertError](err); !ok || alert.Code != 10 && alert.Code != 100 {
				t.Errorf("got %v, want unexpected_message or no_renegotiation", err)
			}
			if err := wait(); err == nil {
				t.Error("the server took the second ClientHello for an end")
			}
		})
	}
}

func TestConnect12SaysWhatAServerOfAnotherVersionAnswers(t *testing.T) {
	cfg := serverConfig(t)
	cfg.MinVersion = tls.VersionTLS13
	client, wait := pair(t, func(c net.Conn) error { return tls.Server(c, cfg).Handshake() })
	_, err := Connect12(client, "a.test", "x")
	if alert, ok := errors.AsType[*AlertError](err); !ok || alert.Code != 70 {
		t.Errorf("got %v, want protocol_version", err)
	}
	if wait() == nil {
		t.Error("the server was content")
	}
}

// A HelloRetryRequest, a second hello, and a session whose transcript is that of both.
func TestRetryWithCryptoTLS(t *testing.T) {
	cfg := serverConfig(t)
	client, wait := pair(t, func(c net.Conn) error {
		conn := tls.Server(c, cfg)
		_, err := io.CopyN(conn, conn, 4)
		return err
	})
	first, key, err := HelloWithoutShare(HelloOptions{SNI: "a.test", ALPN: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(Records(first)[0]); err != nil {
		t.Fatal(err)
	}
	retry, err := ReadRetry(client)
	if err != nil {
		t.Fatal(err)
	}
	second, err := retry.Again(first, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(Record(22, 0x0303, second)); err != nil {
		t.Fatal(err)
	}
	s, err := retry.Connect(client, first, second, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "ping" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}
