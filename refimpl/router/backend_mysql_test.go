package router

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
)

// mysqlPacket is one packet.
func mysqlPacket(seq byte, body []byte) []byte {
	return append([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq}, body...)
}

// mysqlGreeting is protocol 10 as MariaDB sends it.
func mysqlGreeting(flags uint32) []byte {
	b := append([]byte("\x0a10.11.6-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00"), byte(flags), byte(flags>>8), 45, 2, 0)
	b = append(b, byte(flags>>16), byte(flags>>24), 21)
	return append(append(b, make([]byte, 10)...), "ijklmnopqrst\x00mysql_native_password\x00"...)
}

// mysqlResponse is a handshake response of protocol 4.1, its fixed part first.
func mysqlResponse(flags uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, flags)
	b = append(b, 0, 0, 0, 1, 45)
	b = append(append(b, make([]byte, 19)...), 7, 0, 0, 0) // MariaDB's own flags end the filler
	return append(b, "user\x00\x14aaaaaaaaaaaaaaaaaaaadb\x00mysql_native_password\x00"...)
}

const mysqlFlags = mysqlProtocol41 | 0x8000 | 0x80000 // with secure connection and plugin names

func wantBytes(t *testing.T, who string, r io.Reader, want []byte) bool {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s read %x, %v; want %x", who, got, err, want)
		return false
	}
	return true
}

// mysqlServer wants the client's flags before TLS and after, counts its packets as a server does, and switches the plugin on the way.
func mysqlServer(t *testing.T, cert tls.Certificate) *backend {
	return serveBackend(t, func(conn net.Conn) {
		_, _ = conn.Write(mysqlPacket(0, mysqlGreeting(mysqlFlags|mysqlClientSSL)))
		response := mysqlResponse(mysqlFlags | mysqlClientSSL)
		if !wantBytes(t, "server before TLS", conn, mysqlPacket(1, response[:mysqlFixed])) {
			return
		}
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		if secure.Handshake() != nil || !wantBytes(t, "server", secure, mysqlPacket(2, response)) {
			return
		}
		_, _ = secure.Write(mysqlPacket(3, []byte("\xfecaching_sha2_password\x00nonce\x00")))
		if !wantBytes(t, "server", secure, mysqlPacket(4, []byte("scramble"))) {
			return
		}
		// Two packets in a row, and the OK with them.
		_, _ = secure.Write(slices.Concat(mysqlPacket(5, []byte{1, 3}), mysqlPacket(6, []byte{0, 0, 0, 2, 0, 0, 0})))
		_, _ = io.Copy(secure, secure) // a command comes back with the number it has
		_ = secure.CloseWrite()
	})
}

func TestMySQLClientInsideTLSSeesAPlaintextServer(t *testing.T) {
	ca := newAuthority(t)
	server := mysqlServer(t, ca.leaf(t, "db.example.test"))
	b := startRouter(t, Config{Routes: []Route{{
		Name: "my", ALPN: []string{"my", "my-ping"}, Mode: ModeTerminate,
		Backend: Backend{Address: server.addr, TLS: StartTLSMySQL, CA: ca.caFile(t), ServerName: "db.example.test"},
	}}})
	for _, transport := range []string{"direct", "websocket"} {
		for _, alpn := range []string{"my", "my-ping"} {
			outer := secure(t, b.stream(t, transport), b.clientConfig("x.routes.example.test", alpn))
			var conn net.Conn = outer
			if alpn == "my-ping" {
				conn = upgrade.PingConn(outer, 0) // the framing is the same at both ends
			}
			send := func(packet []byte) {
				for part := range slices.Chunk(packet, 7) { // the router sees heads in pieces
					if _, err := conn.Write(part); err != nil {
						t.Fatal(err)
					}
				}
			}
			who := "client, " + transport + ", " + alpn
			wantBytes(t, who, conn, mysqlPacket(0, mysqlGreeting(mysqlFlags)))
			send(mysqlPacket(1, mysqlResponse(mysqlFlags)))
			wantBytes(t, who, conn, mysqlPacket(2, []byte("\xfecaching_sha2_password\x00nonce\x00")))
			send(mysqlPacket(3, []byte("scramble")))
			wantBytes(t, who, conn, mysqlPacket(4, []byte{1, 3}))
			wantBytes(t, who, conn, mysqlPacket(5, []byte{0, 0, 0, 2, 0, 0, 0}))
			send(mysqlPacket(0, []byte("\x03select 1")))
			wantBytes(t, who, conn, mysqlPacket(0, []byte("\x03select 1")))
			if alpn == "my" {
				_ = outer.CloseWrite()
				if rest, err := io.ReadAll(outer); err != nil || len(rest) > 0 {
					t.Errorf("%s: after the half-close: %q, %v", who, rest, err)
				}
			}
			conn.Close()
		}
	}
}

func TestMySQLWithoutTLSIsRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := mysqlPacket(0, mysqlGreeting(mysqlFlags|mysqlClientSSL))
	for _, test := range []struct {
		name             string
		greeting, answer []byte // no answer: the client is not greeted
		cause            string
	}{
		{"no TLS", mysqlPacket(0, mysqlGreeting(mysqlFlags)), nil, "does not offer TLS"},
		{"error", mysqlPacket(0, []byte("\xff\x10\x04Too many connections")), nil, "Too many connections"},
		{"old protocol", mysqlPacket(0, []byte("\x095.0\x00")), nil, "protocol 9"},
		{"cut", mysqlPacket(0, []byte("\x0a8.0\x00abcd")), nil, "ends before the flags"},
		{"too long", []byte{0, 0, 1, 0}, nil, "began with 00000100"},
		{"out of order", mysqlPacket(1, mysqlGreeting(mysqlFlags|mysqlClientSSL)), nil, "began with"},
		{"not MySQL", []byte("SSH-2.0-x\r\n"), nil, "began with"},
		{"silent end", nil, nil, "read the MySQL greeting: EOF"},
		{"client asks for TLS", good, mysqlPacket(1, mysqlResponse(mysqlFlags|mysqlClientSSL)), "asks for TLS"},
		{"client of protocol 3.20", good, mysqlPacket(1, mysqlResponse(0)), "not of protocol 4.1"},
		{"client out of order", good, mysqlPacket(0, mysqlResponse(mysqlFlags)), "not of protocol 4.1"},
		{"server not known", good, mysqlPacket(1, mysqlResponse(mysqlFlags)), "x509: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := serveBackend(t, func(conn net.Conn) {
				_, _ = conn.Write(test.greeting)
				if test.answer != nil && wantOrEnd(conn) {
					_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{other.leaf(t, "127.0.0.1")}}).Handshake()
				}
			})
			b := startRouter(t, Config{Routes: []Route{{
				Name: "my", ALPN: []string{"my"}, Mode: ModeTerminate,
				Backend: Backend{Address: server.addr, TLS: StartTLSMySQL, CA: ca.caFile(t)},
			}}})
			conn := secure(t, b.tcp(t), b.clientConfig("x.routes.example.test", "my"))
			if test.answer != nil {
				wantBytes(t, "client", conn, mysqlPacket(0, mysqlGreeting(mysqlFlags)))
				_, _ = conn.Write(test.answer)
			}
			if rest, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || len(rest) > 0 {
				t.Errorf("the client read %q, %v; want a reset", rest, err)
			}
			b.log.wait(t, "route=my", "outcome=dial_failed", test.cause)
		})
	}
}

// wantOrEnd reads an SSLRequest, if one comes.
func wantOrEnd(conn net.Conn) bool {
	_, err := io.ReadFull(conn, make([]byte, mysqlHead+mysqlFixed))
	return err == nil
}

func TestASilentMySQLClientIsNotWaitedForLong(t *testing.T) {
	server := serveBackend(t, func(conn net.Conn) {
		_, _ = conn.Write(mysqlPacket(0, mysqlGreeting(mysqlFlags|mysqlClientSSL)))
		_, _ = io.Copy(io.Discard, conn)
	})
	b := startRouter(t, Config{
		Limits: Limits{ClientHelloTimeout: Duration(2 * time.Second)},
		Routes: []Route{{
			Name: "my", ALPN: []string{"my"}, Mode: ModeTerminate, Backend: Backend{Address: server.addr, TLS: StartTLSMySQL},
		}},
	})
	conn := secure(t, b.tcp(t), b.clientConfig("x.routes.example.test", "my"))
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v, want a reset", err)
	}
	b.log.wait(t, "outcome=dial_failed", "handshake response", "i/o timeout")
}

func TestSequenceNumbersAreShiftedThroughAnyCut(t *testing.T) {
	var in, want []byte
	for i, body := range []string{"\xfeplugin", "", strings.Repeat("x", 300), "\x01\x03", "\x00ok", "\x00not looked at"} {
		in = append(in, mysqlPacket(byte(i+254), []byte(body))...)
		seq := byte(i + 253)
		if i == 5 {
			seq = 3 // behind the OK
		}
		want = append(want, mysqlPacket(seq, []byte(body))...)
	}
	for size := 1; size <= len(in); size++ {
		got := bytes.Clone(in)
		over := false
		s := packets{server: true}
		for part := range slices.Chunk(got, size) {
			if !over {
				over = s.shift(part, 0xff)
			}
		}
		if !over || !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d: over %v, %x, want %x", size, over, got, want)
		}
	}
}

func FuzzMySQLGreeting(f *testing.F) {
	f.Add(mysqlPacket(0, mysqlGreeting(mysqlFlags|mysqlClientSSL)))
	f.Add(mysqlPacket(0, []byte("\xff\x10\x04Too many connections")))
	f.Fuzz(func(t *testing.T, data []byte) {
		packet, err := readGreeting(bytes.NewReader(data))
		if err != nil {
			return
		}
		differ := 0
		for i := range packet {
			if packet[i] != data[i] {
				differ++
				if packet[i]^data[i] != mysqlClientSSL>>8 {
					t.Errorf("byte %d: %x became %x", i, data[i], packet[i])
				}
			}
		}
		if differ != 1 || len(packet) > mysqlHead+maxGreeting {
			t.Errorf("%d of %d bytes differ, want the one with CLIENT_SSL", differ, len(packet))
		}
	})
}

func FuzzMySQLPackets(f *testing.F) {
	f.Add(mysqlPacket(3, []byte("\xfex")), uint8(1))
	f.Add(mysqlPacket(3, []byte{0}), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		whole, pieces := bytes.Clone(data), bytes.Clone(data)
		one, many := packets{server: true}, packets{server: true}
		want, got := one.shift(whole, 0xff), false
		for part := range slices.Chunk(pieces, int(size)+1) {
			if !got {
				got = many.shift(part, 0xff)
			}
		}
		if got != want || !bytes.Equal(whole, pieces) {
			t.Errorf("%x at once: %v, %x; in pieces of %d: %v, %x", data, want, whole, int(size)+1, got, pieces)
		}
	})
}
