package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"slices"
	"strings"
	"testing"
)

const mysqlPlain = mysqlProtocol41 | 0x8000 | 0x80000 // with secure connection and plugin names

func mysqlPacket(seq byte, body string) []byte {
	return append([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq}, body...)
}

// mysqlGreeting is protocol 10 as MariaDB sends it.
func mysqlGreeting(flags uint32) []byte {
	b := append([]byte("\x0a10.11.6-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00"), byte(flags), byte(flags>>8), 45, 2, 0)
	b = append(b, byte(flags>>16), byte(flags>>24), 21)
	return mysqlPacket(0, string(append(b, make([]byte, 10)...))+"ijklmnopqrst\x00mysql_native_password\x00")
}

// mysqlAnswer is a client's packet of protocol 4.1: an SSLRequest, or a handshake response with rest behind the same words.
func mysqlAnswer(seq byte, flags uint32, rest string) []byte {
	b := append(binary.LittleEndian.AppendUint32(nil, flags), 0, 0, 0, 1, 45)
	return mysqlPacket(seq, string(append(b, make([]byte, 23)...))+rest)
}

const mysqlUser = "user\x00\x14aaaaaaaaaaaaaaaaaaaadb\x00mysql_native_password\x00"

func wantBytes(t *testing.T, who string, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s read %q, %v; want %q", who, got[:n], err, want)
	}
}

// newMySQL greets with flags, wants the handshake response of a client without TLS, and switches the plugin on the way.
func newMySQL(t *testing.T, flags uint32) *service {
	return listen(t, &tls.Config{NextProtos: []string{"teleport-mysql"}}, func(conn *tls.Conn) {
		for part := range slices.Chunk(mysqlGreeting(flags), 3) {
			_, _ = conn.Write(part)
		}
		wantBytes(t, "server", conn, mysqlAnswer(1, mysqlPlain, mysqlUser))
		_, _ = conn.Write(mysqlPacket(2, "\xfecaching_sha2_password\x00nonce\x00"))
		wantBytes(t, "server", conn, mysqlPacket(3, "scramble"))
		// Two packets in a row, and the OK with them.
		_, _ = conn.Write(append(mysqlPacket(4, "\x01\x03"), mysqlPacket(5, "\x00\x00\x00\x02\x00\x00\x00")...))
		echo(conn) // a command comes back with the number it has
	})
}

func TestMySQLClientsWithTLSOnTheLocalPortAndWithout(t *testing.T) {
	local, pool := localTLS(t)
	for _, alpn := range [][]string{{"teleport-mysql"}, {}} { // by its ALPN, and by speaking first
		for _, secure := range []bool{true, false} {
			t.Run(fmt.Sprint(alpn, secure), func(t *testing.T) {
				s := newMySQL(t, mysqlPlain)
				var said said
				addr, end := serve(t, &Server{Kind: Database, Dialer: s.dialer(alpn...), LocalTLS: local, Say: said.say})
				tcp := dial(t, addr)
				wantBytes(t, "client", tcp, mysqlGreeting(mysqlPlain|mysqlClientSSL))
				conn, flags, seq := interface {
					net.Conn
					CloseWrite() error
				}(tcp), uint32(mysqlPlain), byte(0)
				if secure {
					if _, err := tcp.Write(mysqlAnswer(1, mysqlPlain|mysqlClientSSL, "")); err != nil {
						t.Fatal(err)
					}
					conn, flags, seq = tls.Client(tcp, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}), flags|mysqlClientSSL, 1
				}
				send := func(packet []byte) {
					for part := range slices.Chunk(packet, 7) { // heads come in pieces
						if _, err := conn.Write(part); err != nil {
							t.Fatal(err)
						}
					}
				}
				send(mysqlAnswer(seq+1, flags, mysqlUser))
				wantBytes(t, "client", conn, mysqlPacket(seq+2, "\xfecaching_sha2_password\x00nonce\x00"))
				send(mysqlPacket(seq+3, "scramble"))
				wantBytes(t, "client", conn, mysqlPacket(seq+4, "\x01\x03"))
				wantBytes(t, "client", conn, mysqlPacket(seq+5, "\x00\x00\x00\x02\x00\x00\x00"))
				send(mysqlPacket(0, "\x03select 1"))
				wantBytes(t, "client", conn, mysqlPacket(0, "\x03select 1"))
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
					t.Errorf("after the half-close: %q, %v", rest, err)
				}
				end()
				said.nothing(t)
			})
		}
	}
}

func TestAMySQLServerThatOffersTLSIsLeftAlone(t *testing.T) {
	local, _ := localTLS(t)
	greeting := mysqlGreeting(mysqlPlain | mysqlClientSSL)
	s := listen(t, &tls.Config{NextProtos: []string{"teleport-mysql"}}, func(conn *tls.Conn) {
		_, _ = conn.Write(greeting)
		echo(conn)
	})
	addr, _ := serve(t, &Server{Kind: Database, Dialer: s.dialer("teleport-mysql"), LocalTLS: local})
	conn := dial(t, addr)
	wantBytes(t, "client", conn, greeting)
	request := mysqlAnswer(1, mysqlPlain|mysqlClientSSL, "")
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "client", conn, request)
}

func TestAMySQLClientThatFailsUnderTLSIsTold(t *testing.T) {
	local, pool := localTLS(t)
	request := mysqlAnswer(1, mysqlPlain|mysqlClientSSL, "")
	for _, test := range []struct {
		name   string
		answer []byte
		under  []byte // nil: the client ends
		want   string // "": nothing to tell
	}{
		{"leaves at the greeting", nil, nil, ""},
		{"cut off", request[:20], nil, "MySQL handshake response: unexpected EOF"},
		{"no TLS behind the request", append(slices.Clone(request), mysqlAnswer(2, mysqlPlain, mysqlUser)...), nil, "under TLS: "},
		{"wrong number", request, mysqlAnswer(1, mysqlPlain|mysqlClientSSL, mysqlUser), "under TLS: not a MySQL handshake response"},
		{"TLS asked for again", request, mysqlAnswer(2, mysqlPlain|mysqlClientSSL, ""), "under TLS: not a MySQL handshake response"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ended := make(chan error, 1)
			s := listen(t, &tls.Config{NextProtos: []string{"teleport-mysql"}}, func(conn *tls.Conn) {
				_, _ = conn.Write(mysqlGreeting(mysqlPlain))
				rest, err := io.ReadAll(conn)
				if len(rest) > 0 {
					err = fmt.Errorf("read %q", rest)
				}
				ended <- err
			})
			var said said
			addr, end := serve(t, &Server{Kind: Database, Dialer: s.dialer("teleport-mysql"), LocalTLS: local, Say: said.say})
			conn := dial(t, addr)
			wantBytes(t, "client", conn, mysqlGreeting(mysqlPlain|mysqlClientSSL))
			_, _ = conn.Write(test.answer)
			if test.under != nil {
				secure := tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
				if _, err := secure.Write(test.under); err != nil {
					t.Fatal(err)
				}
			}
			_ = conn.CloseWrite() // it may have been reset by now
			if err := <-ended; err != nil {
				t.Errorf("the server: %v", err)
			}
			end()
			if test.want == "" {
				said.nothing(t)
			} else {
				said.one(t, test.want)
			}
		})
	}
}

func TestAGreetingThatIsCutOffIsToldAsAFailure(t *testing.T) {
	local, _ := localTLS(t)
	s := listen(t, &tls.Config{}, func(conn *tls.Conn) {
		_, _ = conn.Write(mysqlGreeting(mysqlPlain)[:40])
		conn.Close()
	})
	for _, alpn := range [][]string{{"teleport-mysql"}, {}} {
		var said said
		d := s.dialer()
		addr, end := serveAs(t, &Server{Kind: Database, Dialer: d, LocalTLS: local, Say: said.say}, len(alpn) > 0, (*Server).mysql)
		packet, err := io.ReadAll(dial(t, addr))
		if err != nil || len(packet) < 7 || packet[4] != 0xff || !strings.Contains(string(packet[7:]), "read the MySQL greeting") {
			t.Errorf("%q, %v, want an ERR packet", packet, err)
		}
		end()
		said.one(t, "read the MySQL greeting: ")
	}
}

func TestPacketsAreCountedThroughAnyCut(t *testing.T) {
	var in, want []byte
	for i, body := range []string{"\xfeplugin", "", strings.Repeat("x", 300), "\x01\x03", "\x00ok", "\x00not looked at"} {
		seq := byte(i + 254)
		in = append(in, mysqlPacket(seq, body)...)
		if i < 5 {
			seq++ // behind the OK they stay as they are
		}
		want = append(want, mysqlPacket(seq, body)...)
	}
	for size := 1; size <= len(in); size++ {
		s := packets{server: true}
		got, over := bytes.Clone(in), false
		for part := range slices.Chunk(got, size) {
			if !over {
				over = s.count(part, +1)
			}
		}
		if !over || !bytes.Equal(got, want) {
			t.Fatalf("in parts of %d: over %v, %q, want %q", size, over, got, want)
		}
	}
}

func FuzzMySQLGreeting(f *testing.F) {
	f.Add(mysqlGreeting(mysqlPlain))
	f.Add(mysqlGreeting(mysqlPlain | mysqlClientSSL))
	f.Add([]byte("\x05\x00\x00\x00\x0a8.0\x00"))
	f.Add([]byte("0000")) // a head and then the end, which is not the end of a client that said nothing
	f.Fuzz(func(t *testing.T, greeting []byte) {
		offered := bytes.Clone(greeting)
		did, changed := offerTLS(offered), 0
		for i := range greeting {
			changed += bits.OnesCount8(greeting[i] ^ offered[i])
		}
		if did && changed != 1 || !did && changed != 0 {
			t.Errorf("%v: %d bits changed", did, changed)
		}
		if did && offerTLS(offered) {
			t.Error("offered twice")
		}
		packet, err := readMySQL(bytes.NewReader(greeting), mysqlSSLBody)
		if err == nil && (!bytes.HasPrefix(greeting, packet) || len(packet) > mysqlHead+mysqlSSLBody) {
			t.Errorf("read %x of %x", packet, greeting)
		}
		if errors.Is(err, io.EOF) != (len(greeting) == 0) {
			t.Errorf("%d bytes: %v", len(greeting), err)
		}
	})
}
