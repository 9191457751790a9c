package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

func postgresConfig() *tls.Config { return &tls.Config{NextProtos: []string{"teleport-postgres"}} }

// postgresService is a server that lets everybody in and answers a query with the parameter it asks for. A query "wait" is
// answered when a CancelRequest has come.
type postgresService struct {
	cancelled chan *pgproto3.CancelRequest
}

func (p *postgresService) serve(conn *tls.Conn) {
	b := pgproto3.NewBackend(conn, conn)
	first, err := b.ReceiveStartupMessage()
	if err != nil {
		return
	}
	startup, ok := first.(*pgproto3.StartupMessage)
	if !ok {
		if cancel, ok := first.(*pgproto3.CancelRequest); ok {
			p.cancelled <- cancel
		}
		conn.Close()
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 42, SecretKey: []byte{1, 2, 3, 4}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		message, err := b.Receive()
		if err != nil {
			return
		}
		query, ok := message.(*pgproto3.Query)
		if !ok {
			conn.Close()
			return
		}
		if query.String == "wait" {
			cancel := <-p.cancelled
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "57014", Message: fmt.Sprintf("cancelled %d %v", cancel.ProcessID, cancel.SecretKey)})
		} else {
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x"), DataTypeOID: 25, DataTypeSize: -1}}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(startup.Parameters[query.String])}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		}
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
}

func newPostgres(t *testing.T) *service {
	p := &postgresService{cancelled: make(chan *pgproto3.CancelRequest, 1)}
	return listen(t, postgresConfig(), p.serve)
}

func connect(t *testing.T, addr, settings string, config func(*pgconn.Config)) (*pgconn.PgConn, error) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	c, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=me database=db %s", host, port, settings))
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		config(c)
	}
	conn, err := pgconn.ConnectConfig(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may have gone first
	}
	return conn, err
}

func query(t *testing.T, conn *pgconn.PgConn, q string) (string, error) {
	t.Helper()
	results, err := conn.Exec(t.Context(), q).ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

func TestPostgresClientsConnectWithoutEncryption(t *testing.T) {
	s := newPostgres(t)
	for _, alpn := range [][]string{{"teleport-postgres"}, {}} { // by its ALPN, and by speaking first
		for _, mode := range []string{"disable", "allow", "prefer"} {
			t.Run(fmt.Sprint(alpn, mode), func(t *testing.T) {
				addr, _ := serve(t, &Server{Kind: Database, Dialer: s.dialer(alpn...)})
				conn, err := connect(t, addr, "sslmode="+mode, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := query(t, conn, "user"); got != "me" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
}

// localTLS is a certificate for the local port, and who vouches for it.
func localTLS(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	local, err := certs.NewCA("local")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := local.Issue(certs.Leaf{CommonName: "localhost", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"not asked for here"}}, local.Pool()
}

func TestPostgresClientsThatInsistGetTheLocalCertificate(t *testing.T) {
	local, pool := localTLS(t)
	s := newPostgres(t)
	for _, alpn := range [][]string{{"teleport-postgres"}, {}} {
		for _, negotiation := range []string{"postgres", "direct"} { // by an SSLRequest; at once, as since version 17
			addr, _ := serve(t, &Server{Kind: Database, Dialer: s.dialer(alpn...), LocalTLS: local})
			conn, err := connect(t, addr, "sslmode=verify-full sslnegotiation="+negotiation, func(c *pgconn.Config) { c.TLSConfig.RootCAs = pool })
			if err != nil {
				t.Fatal(err)
			}
			secure, ok := conn.Conn().(*tls.Conn)
			if !ok {
				t.Fatal("the local connection has no TLS")
			}
			if direct := secure.ConnectionState().NegotiatedProtocol == "postgresql"; direct != (negotiation == "direct") {
				t.Errorf("%s: ALPN confirmed: %v", negotiation, direct)
			}
			if got, err := query(t, conn, "user"); got != "me" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if err := conn.CancelRequest(t.Context()); err != nil { // dialled as the connection was, and under TLS
				t.Errorf("cancel: %v", err)
			}
			if _, err := query(t, conn, "wait"); err == nil || !strings.Contains(err.Error(), "cancelled 42") {
				t.Errorf("query: %v", err)
			}
		}
	}
}

func TestDirectTLSIsForPostgresOnly(t *testing.T) {
	local, pool := localTLS(t)
	for _, test := range []struct {
		name  string
		local *tls.Config
		alpn  []string
		want  string
	}{
		{"no ALPN", local, nil, "direct TLS without ALPN"},
		{"another ALPN", local, []string{"h2"}, "local client: direct TLS: tls: "},
		{"no local certificate", nil, []string{"postgresql"}, "there is no local certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newPostgres(t)
			var said said
			addr, end := serve(t, &Server{Kind: Database, Dialer: s.dialer("teleport-postgres"), LocalTLS: test.local, Say: said.say})
			tcp := dial(t, addr)
			conn := tls.Client(tcp, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", NextProtos: test.alpn})
			_, _ = conn.Write([]byte("\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00"))
			if rest, err := io.ReadAll(conn); len(rest) > 0 {
				t.Errorf("read %q, %v", rest, err)
			}
			_, _ = io.Copy(io.Discard, tcp) // to its end
			end()
			said.one(t, test.want)
			if n := s.connections(); n != 0 {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

func TestWithoutALocalCertificateNoTLSIsPromised(t *testing.T) {
	s := newPostgres(t)
	var said said
	addr, end := serve(t, &Server{Kind: Database, Dialer: s.dialer("teleport-postgres"), Say: said.say})
	if _, err := connect(t, addr, "sslmode=require", nil); err == nil || !strings.Contains(err.Error(), "refused TLS") {
		t.Error(err)
	}
	end()
	said.nothing(t)
	if n := s.connections(); n != 0 {
		t.Errorf("dialled %d times for a client that asked for TLS only", n)
	}
}

func TestACancelRequestGoesTheWayOfItsConnection(t *testing.T) {
	s := newPostgres(t)
	addr, _ := serve(t, &Server{Kind: Database, Dialer: s.dialer("teleport-postgres")})
	conn, err := connect(t, addr, "sslmode=prefer", nil)
	if err != nil {
		t.Fatal(err)
	}
	cancelled := make(chan error, 1)
	go func() { cancelled <- conn.CancelRequest(t.Context()) }()
	_, err = query(t, conn, "wait")
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Message != "cancelled 42 [1 2 3 4]" {
		t.Errorf("query: %v", err)
	}
	if err := <-cancelled; err != nil {
		t.Errorf("cancel: %v", err)
	}
}

// certificateWanted refuses clients without a certificate, under TLS 1.3 behind their handshake.
func certificateWanted() *tls.Config {
	return &tls.Config{ClientAuth: tls.RequireAnyClientCert}
}

func TestADatabaseClientIsToldWhatIsWrong(t *testing.T) {
	strict := listen(t, certificateWanted(), func(conn *tls.Conn) { conn.Close() })
	closing := listen(t, &tls.Config{}, func(conn *tls.Conn) { conn.Close() })
	for _, test := range []struct {
		name   string
		server func(alpn ...string) *Server
		want   string
	}{
		{"no router", func(alpn ...string) *Server { return &Server{Dialer: nobody(t, alpn...)} }, "connection refused"},
		{"no client certificate", func(...string) *Server { return &Server{Dialer: strict.dialer()} }, "certificate required"},
		{"a service that closes at once", func(...string) *Server { return &Server{Dialer: closing.dialer()} }, "no answer from the service"},
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("postgres, %s, known %v", test.name, known), func(t *testing.T) {
				var said said
				s := test.server()
				s.Kind, s.Say = Database, said.say
				addr, end := serveAs(t, s, known, (*Server).postgres)
				_, err := connect(t, addr, "sslmode=disable", nil)
				if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "08006" || !strings.Contains(pg.Message, test.want) {
					t.Errorf("%v, want code 08006 and %q", err, test.want)
				}
				end()
				said.one(t, test.want)
			})
			t.Run(fmt.Sprintf("mysql, %s, known %v", test.name, known), func(t *testing.T) {
				var said said
				s := test.server()
				s.Kind, s.Say = Database, said.say
				addr, end := serveAs(t, s, known, (*Server).mysql)
				packet, err := io.ReadAll(dial(t, addr))
				if err != nil || len(packet) < 7 || packet[4] != 0xff || binary.LittleEndian.Uint16(packet[5:]) != 1105 ||
					int(binary.LittleEndian.Uint32(packet)) != len(packet)-4 || !strings.Contains(string(packet[7:]), test.want) {
					t.Errorf("%q, %v, want an ERR packet with %q", packet, err, test.want)
				}
				end()
				said.one(t, test.want)
			})
		}
	}
}

// serveAs serves a port with one protocol when that is known, and finds it out when not.
func serveAs(t *testing.T, s *Server, known bool, protocol func(*Server, context.Context, net.Conn)) (addr string, end func()) {
	t.Helper()
	if !known {
		return serve(t, s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			protocol(s, context.Background(), conn)
			conn.Close()
		}
	}()
	return l.Addr().String(), func() { l.Close(); <-served }
}

func TestMySQLServersSpeakFirst(t *testing.T) {
	for _, alpn := range [][]string{{"teleport-mysql"}, {}} {
		s := listen(t, &tls.Config{NextProtos: []string{"teleport-mysql"}}, func(conn *tls.Conn) {
			_, _ = conn.Write([]byte("greeting"))
			echo(conn)
		})
		addr, _ := serve(t, &Server{Kind: Database, Dialer: s.dialer(alpn...)})
		conn := dial(t, addr)
		got := make([]byte, 8)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "greeting" {
			t.Fatalf("%q, %v", got, err)
		}
		_, err := conn.Write([]byte("answer"))
		if err := errors.Join(err, conn.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(conn); err != nil || string(rest) != "answer" {
			t.Errorf("%q, %v", rest, err)
		}
	}
}

func TestWhatIsNoPostgresStartupIsNotDialledFor(t *testing.T) {
	ssl := string([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
	for _, test := range []struct{ name, sent, want string }{
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "not a PostgreSQL startup message"},
		{"too long", "\x00\x01\x00\x00\x00\x03\x00\x00", "not a PostgreSQL startup message"},
		{"too short", "\x00\x00\x00\x04\x00\x03\x00\x00", "not a PostgreSQL startup message"},
		{"cut off", "\x00\x00\x00\x20\x00\x03\x00\x00user", "unexpected EOF"},
		{"TLS asked for for ever", strings.Repeat(ssl, 9), "encryption asked for 3 times"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newPostgres(t)
			var said said
			addr, end := serve(t, &Server{Kind: Database, Dialer: s.dialer("teleport-postgres"), Say: said.say})
			conn := dial(t, addr)
			if _, err := io.WriteString(conn, test.sent); err != nil {
				t.Fatal(err)
			}
			_ = conn.CloseWrite()            // it may have been reset by now
			_, _ = io.Copy(io.Discard, conn) // to its end
			end()
			said.one(t, test.want)
			if n := s.connections(); n != 0 {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

func FuzzStartup(f *testing.F) {
	f.Add([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f})
	f.Add([]byte("\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00"))
	f.Add([]byte("\x00\x00\x27\x10\x00\x03\x00\x00"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		message, err := readStartup(r)
		switch {
		case err == nil && (!bytes.HasPrefix(sent, message) || int(binary.BigEndian.Uint32(message)) != len(message) || len(message) > maxStartup):
			t.Errorf("%x read as %x", sent, message)
		case err == nil && len(sent)-r.Len() != len(message):
			t.Errorf("%d bytes read for a message of %d", len(sent)-r.Len(), len(message))
		}
	})
}
