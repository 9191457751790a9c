package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// What the sealer makes is opened by crypto/tls, which then answers the inner hello and confirms it.
func TestECHWithCryptoTLS(t *testing.T) {
	private, err := hpke.DHKEM(ecdh.X25519()).GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	list := NewECHConfigs(7, private.PublicKey().Bytes(), "public.test")
	config, err := ParseECHConfigs(list)
	if err != nil || config.ID != 7 || config.PublicName != "public.test" || !bytes.Equal(config.Raw, list[2:]) {
		t.Fatalf("read %+v, %v", config, err)
	}
	cfg := serverConfig(t)
	cfg.EncryptedClientHelloKeys = []tls.EncryptedClientHelloKey{{Config: config.Raw, PrivateKey: secret}}
	name := make(chan string, 1)
	client, wait := pair(t, func(c net.Conn) error {
		conn := tls.Server(c, cfg)
		_, err := io.CopyN(conn, conn, 4)
		state := conn.ConnectionState()
		name <- state.ServerName
		return err
	})
	id := make([]byte, 32)
	inner, key, err := HelloTLS13(HelloOptions{SNI: "a.test", ALPN: []string{"x"}, SessionID: id, Last: []Extension{{ExtECH, []byte{ECHInner}}}})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := NewECHSealer(config)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := sealer.Seal(NewHello(HelloOptions{SNI: "public.test", SessionID: id}), inner)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(Records(outer)[0]); err != nil {
		t.Fatal(err)
	}
	rec, err := ReadAnswer(client)
	if err != nil || !ECHConfirmed(inner, rec.Fragment) || ECHConfirmed(outer, rec.Fragment) {
		t.Fatalf("the inner hello is not confirmed, or the outer one is: %v", err)
	}
	s, err := Connect(WithPrefix(client, Record(rec.Type, rec.Version, rec.Fragment)), inner, key)
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
	if sni := <-name; sni != "a.test" {
		t.Errorf("the server saw %q", sni)
	}
}

func TestParseECHConfigsRefuses(t *testing.T) {
	good := NewECHConfigs(1, make([]byte, 32), "public.test")
	other := bytes.Clone(good)
	other[7], other[8] = 0, 0x10 // a KEM that is not known here
	for name, list := range map[string][]byte{"nothing": nil, "cut short": good[:20], "another KEM": other, "an empty list": {0, 0}} {
		if c, err := ParseECHConfigs(list); err == nil {
			t.Errorf("%s: read %+v", name, c)
		}
	}
}

// GREASE is passed over by crypto/tls, and not confirmed.
func TestGreaseECHIsNobodys(t *testing.T) {
	cfg := serverConfig(t)
	client, wait := pair(t, func(c net.Conn) error { return tls.Server(c, cfg).Handshake() })
	msg, key, err := HelloTLS13(HelloOptions{SNI: "a.test", ALPN: []string{"x"}, Last: []Extension{GreaseECH()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(Records(msg)[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(client, msg, key); err != nil {
		t.Error(err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}
