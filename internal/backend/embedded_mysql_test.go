package backend

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
)

// TestEmbeddedMySQLSpeaksCachingSHA2 logs in with the real driver: the first time the server wants the password itself, for its RSA key or under
// TLS, from then on the scramble is enough.
func TestEmbeddedMySQLSpeaksCachingSHA2(t *testing.T) {
	ca, err := certs.NewCA("databases")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(certs.Leaf{CommonName: "db", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	const full, fast, public = "\x02\x00\x00\x04\x01\x04", "\x02\x00\x00\x04\x01\x03", "-----BEGIN PUBLIC KEY-----"
	for name, secure := range map[string]bool{"plaintext": false, "under TLS": true} {
		t.Run(name, func(t *testing.T) {
			r, m := &Running{}, &mysqlServer{password: newPassword()}
			if secure {
				m.tls = &tls.Config{Certificates: []tls.Certificate{leaf}}
			}
			if err := serveMySQL(Spec{Logger: slog.New(slog.DiscardHandler)}, r, m); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeBackend(t, r) })
			login := func(password string) ([]byte, error) {
				heard := new(heardConn)
				c := mysql.NewConfig()
				c.Net, c.Addr, c.User, c.Passwd = "tcp", r.Address, MySQLSHA2User, password
				c.Logger = &mysql.NopLogger{}
				if secure {
					c.TLS = &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"}
				}
				c.DialFunc = heard.dial
				connector, err := mysql.NewConnector(c)
				if err != nil {
					t.Fatal(err)
				}
				db := sql.OpenDB(connector)
				defer func() { _ = db.Close() }()
				var one int
				err = db.QueryRowContext(t.Context(), "SELECT 1").Scan(&one)
				if err == nil && one != 1 {
					t.Errorf("SELECT 1 is %d", one)
				}
				return heard.all(), err
			}
			wrong := func(when string) {
				var refused *mysql.MySQLError
				if _, err := login("wrong"); !errors.As(err, &refused) || refused.Number != 1045 {
					t.Errorf("wrong password, %s: %v", when, err)
				}
			}
			wrong("of an account that has not logged in yet")
			if m.known.Load() {
				t.Error("a wrong password is taken for known")
			}
			heard, err := login(m.password)
			if err != nil || !m.known.Load() {
				t.Fatalf("full login: %v, known %v", err, m.known.Load())
			}
			if !secure && (!bytes.Contains(heard, []byte(full)) || !bytes.Contains(heard, []byte(public))) {
				t.Errorf("full login without the server's key: %q", heard)
			}
			if heard, err = login(m.password); err != nil {
				t.Fatalf("cached login: %v", err)
			}
			if !secure && (!bytes.Contains(heard, []byte(fast)) || bytes.Contains(heard, []byte(public))) {
				t.Errorf("cached login: %q", heard)
			}
			wrong("of a known account")
		})
	}
}

// TestEmbeddedMySQLNeverTakesAPasswordInTheClear: a client that believes in TLS which the server does not see sends it so.
func TestEmbeddedMySQLNeverTakesAPasswordInTheClear(t *testing.T) {
	m := &mysqlServer{password: "secret"}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	result := make(chan bool, 1)
	go func() {
		ok, _ := m.checkCaching(newMySQLConn(there), nil, []byte("12345678901234567890"), false)
		result <- ok
	}()
	client := newMySQLConn(here)
	if asked, err := client.read(); err != nil || !bytes.Equal(asked, []byte{1, 4}) {
		t.Fatalf("asked %x, %v", asked, err)
	}
	client.write([]byte("secret\x00"))
	if err := client.flush(); err != nil {
		t.Fatal(err)
	}
	if <-result || m.known.Load() {
		t.Error("it was let in")
	}
}

// heardConn keeps what was read.
type heardConn struct {
	net.Conn
	mu   sync.Mutex
	read bytes.Buffer
}

func (c *heardConn) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	c.Conn = conn
	return c, err
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.Write(p[:n])
	return n, err
}

func (c *heardConn) all() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read.Bytes()
}

// TestTheEmbeddedMySQLDoesNotDoWhatItSays tries everything that its note says it does not do.
func TestTheEmbeddedMySQLDoesNotDoWhatItSays(t *testing.T) {
	r := start(t, Embedded, MySQL)
	plain, err := mysqlConfig(r.Address, r.Access)
	if err != nil {
		t.Fatal(err)
	}
	secure := plain.Clone()
	secure.TLS = &tls.Config{InsecureSkipVerify: true}
	exec := func(statements ...string) func(*sql.DB) error {
		return func(db *sql.DB) error {
			for _, s := range statements {
				if _, err := db.ExecContext(t.Context(), s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	tries := map[string]func(*sql.DB) error{
		"tables": exec("CREATE TABLE t (n INT)"), "LOAD DATA": exec("LOAD DATA LOCAL INFILE 'x' INTO TABLE t"), "KILL": exec("KILL QUERY 1"),
		"transactions":              func(db *sql.DB) error { _, err := db.BeginTx(t.Context(), nil); return err },
		"other prepared statements": func(db *sql.DB) error { _, err := db.PrepareContext(t.Context(), "SELECT ?"); return err },
		"packets beyond 4 MiB":      exec("SELECT '" + strings.Repeat("x", maxMySQLPacket) + "'"),
		"compression": func(*sql.DB) error { // a driver goes on without where it is not offered
			conn, err := net.Dial("tcp", r.Address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			greeting, err := newMySQLConn(conn).read()
			if err != nil {
				t.Fatal(err)
			}
			if flags := greeting[len("\x0a")+len(mysqlVersionText)+1+4+8+1]; flags&0x20 != 0 {
				t.Errorf("CLIENT_COMPRESS is offered: %08b", flags)
			}
			return &mysql.MySQLError{}
		},
		"TLS of its own": func(db *sql.DB) error { return db.PingContext(t.Context()) },
	}
	for _, lack := range embeddedMySQLLacks {
		try := tries[lack]
		if try == nil || !strings.Contains(r.Info.Note, lack) {
			t.Errorf("%s is not tried, or not in the note", lack)
			continue
		}
		config := plain
		if lack == "TLS of its own" {
			config = secure
		}
		connector, err := mysql.NewConnector(config)
		if err != nil {
			t.Fatal(err)
		}
		db := sql.OpenDB(connector)
		err = try(db)
		var refused *mysql.MySQLError
		cut := err != nil && strings.HasPrefix(lack, "packets") // the reset may come before the refusal is read
		if !errors.As(err, &refused) && !errors.Is(err, mysql.ErrNoTLS) && !cut {
			t.Errorf("%s: %v", lack, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
