package clienthello

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPeekReadsTheFiveHellosInAnySegmentation(t *testing.T) {
	// A change_cipher_spec and early data may already be there.
	behind := []byte("\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x03abc")
	for _, h := range fiveHellos(t) {
		for name, piece := range map[string]int{"at once": 0, "byte by byte": 1, "segments of 536 bytes": 536, "segments of 1460 bytes": 1460} {
			t.Run(h.name+", "+name, func(t *testing.T) {
				wire := slices.Concat(h.wire, behind)
				conn := &script{in: bytes.Clone(wire), piece: piece}
				info, replay, err := Peek(conn, Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if info.ServerName != "Pg.example.test" {
					t.Errorf("name %q", info.ServerName)
				}
				if d := cmp.Diff(h.alpn, info.ALPN); d != "" {
					t.Errorf("ALPN: -want +got:\n%s", d)
				}
				if d := cmp.Diff([]uint16{tls.VersionTLS13, tls.VersionTLS12}, info.SupportedVersions); d != "" {
					t.Errorf("versions: -want +got:\n%s", d)
				}
				if info.HasECH {
					t.Error("ECH found")
				}
				if got := records(info.Raw, len(info.Raw)); !bytes.Equal(got[5:], info.Raw) || info.Raw[0] != 1 {
					t.Error("Raw is not the message")
				}
				if !conn.deadline.IsZero() || conn.set != 2 {
					t.Errorf("the deadline was set %d times and is %v", conn.set, conn.deadline)
				}
				got, err := io.ReadAll(replay)
				if err != nil || !bytes.Equal(got, wire) {
					t.Errorf("replayed %d of %d bytes alike: %v", len(got), len(wire), err)
				}
			})
		}
	}
}

// Two segments, cut at every offset: the header of a record, of the message and of an extension among them. The first may have been
// read by somebody else.
func TestPeekReadsAHelloCutAnywhere(t *testing.T) {
	wire := records(hello(sni(host("a.test")), alpn("p")), 40)
	for n := range 2 * len(wire) {
		cut, held := n/2+1, n%2 == 1
		peer, below := net.Pipe()
		conn := below
		if held {
			conn = NewConn(below, bytes.Clone(wire[:cut]))
		}
		go func() {
			if !held {
				_, _ = peer.Write(wire[:cut])
			}
			_, _ = peer.Write(wire[cut:])
			peer.Close()
		}()
		info, replay, err := Peek(conn, Limits{})
		if err != nil || info.ServerName != "a.test" || !slices.Equal(info.ALPN, []string{"p"}) {
			t.Fatalf("cut at %d: %+v, %v", cut, info, err)
		}
		if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, wire) {
			t.Fatalf("cut at %d: replayed %d of %d bytes: %v", cut, len(got), len(wire), err)
		}
		conn.Close()
	}
}

func TestPeekLeavesAConnectionThatTLSCanUse(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x.test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	failed := make(chan error, 1)
	go func() {
		c := tls.Client(client, &tls.Config{ServerName: "x.test", NextProtos: []string{"p"}, InsecureSkipVerify: true})
		_, err := io.WriteString(c, "ping")
		failed <- err
	}()
	info, conn, err := Peek(server, Limits{})
	if err != nil || info.ServerName != "x.test" {
		t.Fatalf("%+v, %v", info, err)
	}
	c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: info.ALPN})
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "ping" {
		t.Errorf("read %q, %v", got, err)
	}
	if state := c.ConnectionState(); state.ServerName != "x.test" || state.NegotiatedProtocol != "p" {
		t.Errorf("negotiated %q %q", state.ServerName, state.NegotiatedProtocol)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestPeekIgnoresTheRecordVersion(t *testing.T) {
	for _, v := range []uint16{0x0000, 0x0300, 0x0301, 0x0303, 0x03ff, 0xffff} {
		wire := records(hello(sni(host("a.test"))), 20)
		for i := 0; i < len(wire); i += 25 {
			wire[i+1], wire[i+2] = byte(v>>8), byte(v)
		}
		if info, _, err := Peek(&script{in: wire}, Limits{}); err != nil || info.ServerName != "a.test" {
			t.Errorf("%#04x: %+v, %v", v, info, err)
		}
	}
}

func TestPeekRefusesBadRecordsWithTheRightAlert(t *testing.T) {
	good := hello(sni(host("a.test")))
	for _, c := range []struct {
		name  string
		wire  []byte
		alert uint8
	}{
		{"alert first", []byte("\x15\x03\x03\x00\x02\x02\x28"), AlertUnexpectedMessage},
		{"change_cipher_spec first", []byte("\x14\x03\x03\x00\x01\x01"), AlertUnexpectedMessage},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), AlertUnexpectedMessage},
		{"one wrong byte is enough", []byte("G"), AlertUnexpectedMessage},
		{
			"change_cipher_spec in between",
			slices.Concat(records(good[:20], 20), []byte("\x14\x03\x03\x00\x01\x01"), records(good[20:], 400)),
			AlertUnexpectedMessage,
		},
		{"empty record first", []byte("\x16\x03\x01\x00\x00"), AlertUnexpectedMessage},
		{
			"empty record in between",
			slices.Concat(records(good[:20], 20), []byte("\x16\x03\x01\x00\x00"), records(good[20:], 400)),
			AlertUnexpectedMessage,
		},
		{"record of 2^14+1", []byte("\x16\x03\x01\x40\x01"), AlertRecordOverflow},
		{"server hello", records(message(2, body()), 400), AlertUnexpectedMessage},
		{"another message in the record", records(slices.Concat(good, []byte{0}), 400), AlertUnexpectedMessage},
		{"message longer than the limit", []byte("\x16\x03\x01\x00\x04\x01\x01\x00\x00"), AlertIllegalParameter},
		{"bad body", records(message(1, []byte{3, 3}), 400), AlertDecodeError},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &script{in: bytes.Clone(c.wire), err: os.ErrDeadlineExceeded}
			info, replay, err := Peek(conn, Limits{})
			var bad *Error
			if !errors.As(err, &bad) || info != nil {
				t.Fatalf("got %+v, %v; want an *Error", info, err)
			}
			if bad.Alert != c.alert || bad.Timeout() {
				t.Errorf("%v: alert %d, want %d", err, bad.Alert, c.alert)
			}
			if !bytes.HasPrefix(c.wire, bad.Prefix) || len(bad.Prefix) == 0 {
				t.Errorf("evidence %q", bad.Prefix)
			}
			if !conn.deadline.IsZero() {
				t.Error("the deadline stays set")
			}
			if got := replay.(*Conn).Buffered(); !bytes.Equal(got, c.wire) {
				t.Errorf("%d of %d bytes kept", len(got), len(c.wire))
			}
		})
	}
}

func TestPeekIsBoundedInBytes(t *testing.T) {
	big := hello(sni(host("a.test")), ext(21, make([]byte, 16000)))
	for _, c := range []struct {
		name  string
		wire  []byte
		limit int
		ok    bool
	}{
		{"16 KiB in one record", records(big, 1<<14), 0, true},
		{"16 KiB in records of 1 byte", records(big, 1), 0, false},
		{"the same with room", records(big, 1), 1 << 20, true},
		{"just enough", records(big, 1<<14), len(big) + 5, true},
		{"one byte short", records(big, 1<<14), len(big) + 4, false},
		{"60 KiB in four records", records(hello(ext(21, make([]byte, 60<<10))), 1<<14), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &script{in: bytes.Clone(c.wire), err: os.ErrDeadlineExceeded}
			_, replay, err := Peek(conn, Limits{Bytes: c.limit})
			var bad *Error
			if c.ok {
				if err != nil {
					t.Error(err)
				}
			} else if !errors.As(err, &bad) || bad.Alert != AlertIllegalParameter {
				t.Errorf("got %v", err)
			}
			limit := c.limit
			if limit == 0 {
				limit = DefaultBytes
			}
			if n := len(replay.(*Conn).Buffered()); n > limit {
				t.Errorf("%d bytes read", n)
			}
		})
	}
}

// One deadline for the whole hello: a client that sends a byte now and then does not move it.
func TestPeekGivesUpOnASlowClient(t *testing.T) {
	wire := records(hello(sni(host("a.test"))), 400)
	for name, pause := range map[string]time.Duration{"silent": time.Hour, "a byte a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, conn := net.Pipe()
				defer peer.Close()
				done := make(chan struct{})
				go func() {
					defer close(done)
					for i := range wire {
						time.Sleep(pause) // virtual
						if _, err := peer.Write(wire[i : i+1]); err != nil {
							return
						}
					}
				}()
				begun := time.Now()
				_, replay, err := Peek(conn, Limits{Timeout: 10 * time.Second})
				if took := time.Since(begun); took != 10*time.Second {
					t.Errorf("gave up after %v", took)
				}
				var ne net.Error
				var bad *Error
				if !errors.As(err, &ne) || !ne.Timeout() || !errors.As(err, &bad) || bad.Alert != 0 {
					t.Errorf("got %v", err)
				}
				// The deadline is gone: the connection waits for its peer again.
				replay.(*Conn).Buffered()
				if _, err := replay.Read(make([]byte, 1)); err != nil {
					t.Errorf("read after the timeout: %v", err)
				}
				replay.Close()
				<-done
			})
		})
	}
}

func TestPeekTellsHowTheConnectionEnded(t *testing.T) {
	half := records(hello(sni(host("a.test"))), 400)[:30]
	for _, c := range []struct {
		name string
		conn *script
		want error
	}{
		{"nothing sent", &script{}, io.EOF},
		{"half a hello", &script{in: half}, io.ErrUnexpectedEOF},
		{"reset", &script{in: half, err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, syscall.ECONNRESET},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Peek(c.conn, Limits{})
			var bad *Error
			if !errors.Is(err, c.want) || !errors.As(err, &bad) || bad.Alert != 0 || bad.Timeout() {
				t.Errorf("got %v", err)
			}
			if !c.conn.deadline.IsZero() {
				t.Error("the deadline stays set")
			}
		})
	}
}

func TestConnGivesItsBytesOnce(t *testing.T) {
	below := &script{in: []byte("below")}
	c := NewConn(NewConn(below, []byte("second ")), []byte("first "))
	p := make([]byte, 3)
	if n, err := c.Read(p); n != 3 || err != nil || string(p) != "fir" {
		t.Fatalf("read %q, %v", p[:n], err)
	}
	if c.Unwrap() != net.Conn(below) {
		t.Errorf("stacked on %T", c.Unwrap())
	}
	if got := string(c.Buffered()); got != "st second " {
		t.Errorf("held %q", got)
	}
	if got := c.Buffered(); got != nil {
		t.Errorf("held %q after it was taken", got)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "below" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := c.CloseWrite(); err == nil {
		t.Error("half-closed a connection that cannot be")
	}
}

func TestWriteAlertSendsAFatalPlaintextRecord(t *testing.T) {
	conn := &script{}
	if err := WriteAlert(conn, AlertUnrecognizedName); err != nil {
		t.Fatal(err)
	}
	if got, want := conn.out.String(), "\x15\x03\x03\x00\x02\x02\x70"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	// crypto/tls understands it.
	conn.in = conn.out.Bytes()
	err := tls.Client(&script{in: conn.in}, &tls.Config{ServerName: "x.test"}).Handshake()
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		t.Errorf("a client makes of it: %v", err)
	}
}
