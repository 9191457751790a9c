package lab

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// mysqlLogin is a login with the server's own password plugin, plain inside the tunnel, under TLS that the router asks for, and by the local port; and
// one with a wrong password.
func mysqlLogin(t *testing.T, l mysqlLab, path string) {
	s := session(t, l.config(t, "db", l.dialer(t, path, "db")))
	if got := s.status(t, "Ssl_version"); got != "" {
		t.Errorf("the server sees %s: TLS is the router's to end", got)
	}
	bridged := session(t, l.config(t, "bridged", l.dialer(t, path, "bridged")))
	if got := bridged.status(t, "Ssl_version"); !strings.HasPrefix(got, "TLSv1.") {
		t.Errorf("the server sees %q: the router was to ask for TLS", got)
	}
	for _, s := range []mysqlSession{s, bridged, session(t, startProxy(t, l.dialer(t, path, "db")).mysqlConfig(l.config(t, "db", nil)))} {
		if got := s.value(t, "SELECT CURRENT_USER()"); got != l.backend("db").Access.User+"@%" {
			t.Errorf("logged in as %q", got)
		}
	}
	for _, route := range []string{"db", "bridged"} {
		wrong := l.config(t, route, l.dialer(t, path, route))
		wrong.Passwd += "x"
		if _, err := openMySQL(t, wrong); mysqlRefusal(err) != "1045" {
			t.Errorf("%s: wrong password: %v", route, err)
		}
	}
	// MariaDB's account has the plugin of old: a client that refuses it learns that.
	if l.backend("db").Info.Product == "MariaDB" {
		c := l.config(t, "db", l.dialer(t, path, "db"))
		c.AllowNativePasswords = false
		if _, err := openMySQL(t, c); !errors.Is(err, mysql.ErrNativePassword) {
			t.Errorf("a client that refuses mysql_native_password: %v", err)
		}
	}
}

// mysqlOwnTLS: the client sees the greeting through a route that ends the tunnel's TLS, asks for TLS with CLIENT_SSL, and verifies the server's own
// certificate, end to end, by the dialer and by the local port.
func mysqlOwnTLS(t *testing.T, l mysqlLab, path string) {
	d := l.dialer(t, path, "db")
	for name, c := range map[string]*mysql.Config{
		"tunnel": l.config(t, "db", d), "local port": startProxy(t, d).mysqlConfig(l.config(t, "db", nil)),
	} {
		l.ownTLS(t, c)
		s := session(t, c)
		if got := s.status(t, "Ssl_version"); !strings.HasPrefix(got, "TLSv1.") {
			t.Errorf("%s: the server sees %q, want the client's TLS", name, got)
		}
	}
	// Behind a route that does STARTTLS itself the router has taken CLIENT_SSL out of the greeting.
	c := l.config(t, "bridged", l.dialer(t, path, "bridged"))
	l.ownTLS(t, c)
	if _, err := openMySQL(t, c); !errors.Is(err, mysql.ErrNoTLS) {
		t.Errorf("TLS inside the router's: %v", err)
	}
}

// mysqlPassthrough is what cannot be: a passthrough route is found by the name in the ClientHello, which a MySQL client sends only after the greeting
// of the server that it is to lead to. A client that begins with TLS gets that greeting in answer, and must be told instead of waiting.
func mysqlPassthrough(t *testing.T, l mysqlLab, path string) {
	_, err := openMySQL(t, l.config(t, "passed", l.dialer(t, path, "passed")))
	if err == nil || !strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
		t.Errorf("TLS before the greeting: %v", err)
	}
}

// mysqlPrepared uses the binary protocol both ways.
func mysqlPrepared(t *testing.T, l mysqlLab, path string) {
	s := session(t, l.config(t, "db", l.dialer(t, path, "db")))
	stmt, err := s.PrepareContext(t.Context(), "SELECT CAST(? AS SIGNED) + 1, MD5(?), ?, CAST(? AS CHAR)")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, -1, 1<<62 - 1} {
		for _, blob := range [][]byte{{}, {0, 0xff, '\''}, bytes.Repeat([]byte("é"), 40_000)} {
			var next int64
			var sum string
			var back []byte
			var null sql.NullString
			if err := stmt.QueryRowContext(t.Context(), n, blob, blob, nil).Scan(&next, &sum, &back, &null); err != nil {
				t.Fatal(err)
			}
			want := md5.Sum(blob)
			if next != n+1 || sum != hex.EncodeToString(want[:]) || !bytes.Equal(back, blob) || null.Valid {
				t.Errorf("%d and %d bytes came back as %d, %s, %d bytes, %v", n, len(blob), next, sum, len(back), null)
			}
		}
	}
	if err := stmt.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.status(t, "Com_stmt_close"); got != "1" {
		t.Errorf("the server has closed %s statements", got)
	}
}

// mysqlLoadData sends a file of a mebibyte, for which the server asks in the middle of a statement.
func mysqlLoadData(t *testing.T, l mysqlLab, path string) {
	s := session(t, l.config(t, "db", l.dialer(t, path, "db")))
	name := table("load", path)
	s.do(t, "CREATE TABLE "+name+" (n INT PRIMARY KEY, v CHAR(32)) ENGINE=InnoDB")
	var file bytes.Buffer
	rows, check := 0, uint32(0)
	for file.Len() < 1<<20 {
		sum := md5.Sum([]byte(strconv.Itoa(rows)))
		line := fmt.Sprintf("%d\t%s", rows, hex.EncodeToString(sum[:]))
		file.WriteString(line + "\n")
		check ^= crc32.ChecksumIEEE([]byte(line))
		rows++
	}
	mysql.RegisterReaderHandler(name, func() io.Reader { return &file })
	defer mysql.DeregisterReaderHandler(name)
	s.do(t, "LOAD DATA LOCAL INFILE 'Reader::"+name+"' INTO TABLE "+name)
	want := fmt.Sprintf("%d %d", rows, check)
	if got := s.value(t, "SELECT CONCAT(COUNT(*), ' ', BIT_XOR(CRC32(CONCAT(n, '\t', v)))) FROM "+name); got != want {
		t.Errorf("rows and checksum %s, want %s", got, want)
	}
	s.do(t, "DROP TABLE "+name)
}

// mysqlCompression has the packets compressed inside the tunnel: by the Go driver, and by MariaDB's own client at the local port.
func mysqlCompression(t *testing.T, l mysqlLab, path string) {
	d := l.dialer(t, path, "db")
	c := l.config(t, "db", nil)
	if err := c.Apply(mysql.EnableCompression(true)); err != nil {
		t.Fatal(err)
	}
	const size = 2 << 20
	var read atomic.Int64
	c.DialFunc = mysqlCounted(d, func(n int) { read.Add(int64(n)) })
	s := session(t, c)
	if got := s.status(t, "Compression"); got != "ON" {
		t.Errorf("compression is %s", got)
	}
	read.Store(0)
	if got := s.value(t, "SELECT REPEAT('tlsroute', ?)", size/8); got != strings.Repeat("tlsroute", size/8) {
		t.Errorf("%d bytes came back, or others", len(got))
	}
	if n := read.Load(); n < 100 || n > size/20 {
		t.Errorf("%d bytes were read for %d that compress well", n, size)
	}
	p, a := startProxy(t, d), l.backend("db").Access
	cmd := exec.CommandContext(t.Context(), "mariadb", "--no-defaults", "--skip-ssl", "--compress", "--protocol=tcp", "-h", p.host, "-P", strconv.Itoa(int(p.port)),
		"-u", a.User, "-BN", "--max-allowed-packet=64M", "-e", fmt.Sprintf("SHOW SESSION STATUS LIKE 'Compression'; SELECT REPEAT('tlsroute', %d)", size/8), a.Database)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+a.Password)
	var says bytes.Buffer
	cmd.Stderr = &says
	out, err := cmd.Output()
	if want := "Compression\tON\n" + strings.Repeat("tlsroute", size/8) + "\n"; err != nil || string(out) != want {
		t.Errorf("mariadb --compress: %d bytes, want %d; %v, %s", len(out), len(want), err, says.String())
	}
}

// mysqlLargeRow is a value that needs more than one packet, 16 MiB less a byte being the most of one, there and back.
func mysqlLargeRow(t *testing.T, l mysqlLab, path string) {
	s := session(t, l.config(t, "db", l.dialer(t, path, "db")))
	sent := make([]byte, 16<<20+1)
	_, _ = rand.Read(sent) // it never fails
	var back []byte
	if err := s.QueryRowContext(t.Context(), "SELECT ?", sent).Scan(&back); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back, sent) {
		t.Errorf("%d bytes came back of %d, or others", len(back), len(sent))
	}
	if got := s.value(t, "SELECT 1"); got != "1" {
		t.Errorf("the session goes on with %q", got)
	}
}

// mysqlKill ends a statement from another tunnel; the session lives on. KILL without QUERY ends the session too, with an error.
func mysqlKill(t *testing.T, l mysqlLab, path string) {
	busy := session(t, l.config(t, "db", l.dialer(t, path, "db")))
	other := session(t, l.config(t, "db", l.dialer(t, path, "db")))
	id := busy.value(t, "SELECT CONNECTION_ID()")
	interrupt := func(kill string) error {
		done := make(chan error, 1)
		go func() {
			var v int // in a condition SLEEP is an error when it is interrupted; in a list of columns MySQL has it return 1
			done <- busy.QueryRowContext(context.WithoutCancel(t.Context()), "SELECT 1 FROM (SELECT 1) AS t WHERE SLEEP(300)").Scan(&v)
		}()
		waitUntil(t, "the statement to run", func() bool {
			return other.value(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND INFO LIKE '%SLEEP(300)%'", id) == "1"
		})
		other.do(t, kill+" "+id)
		return <-done
	}
	if err := interrupt("KILL QUERY"); mysqlRefusal(err) != "1317" {
		t.Errorf("the statement that was killed: %v", err)
	}
	if got := busy.value(t, "SELECT CONNECTION_ID()"); got != id {
		t.Errorf("session %s goes on as %s", id, got)
	}
	if err := interrupt("KILL"); err == nil {
		t.Error("the statement of a session that was killed came to an end of its own")
	}
	if err := busy.PingContext(t.Context()); err == nil {
		t.Error("the session that was killed answers")
	}
}

// mysqlCachingSHA2 is MySQL 8's plugin: the first login has the password encrypted for the server's key, which is sent for it, the second is known.
func mysqlCachingSHA2(t *testing.T, l mysqlLab, path string) {
	d := l.dialer(t, path, "sha2")
	ways := map[string]*mysql.Config{"tunnel": l.config(t, "sha2", d), "local port": startProxy(t, d).mysqlConfig(l.config(t, "sha2", nil))}
	for name, c := range ways {
		c.User = backend.MySQLSHA2User
		forget := session(t, l.config(t, "sha2", d)) // by the plugin of old
		forget.do(t, "FLUSH PRIVILEGES")
		wrong := c.Clone()
		wrong.Passwd += "x"
		for _, login := range []string{"full", "cached"} {
			if got := session(t, c).value(t, "SELECT 1"); got != "1" {
				t.Errorf("%s, %s: SELECT 1 is %s", name, login, got)
			}
			if _, err := openMySQL(t, wrong); mysqlRefusal(err) != "1045" {
				t.Errorf("%s, wrong password after the %s login: %v", name, login, err)
			}
		}
	}
	// What cannot be put right (refimpl/client/proxy, mysql.go): under the local port's TLS a client sends the password itself, which a server
	// that sees no TLS does not take. Once it knows the account, the login succeeds.
	forget := session(t, l.config(t, "sha2", d))
	forget.do(t, "FLUSH PRIVILEGES")
	secure := ways["local port"].Clone()
	secure.TLSConfig = "skip-verify"
	if _, err := openMySQL(t, secure); mysqlRefusal(err) != "1045" {
		t.Errorf("full login under the local port's TLS: %v", err)
	}
	session(t, ways["tunnel"])
	if got := session(t, secure).value(t, "SELECT 1"); got != "1" {
		t.Errorf("cached login under the local port's TLS: %s", got)
	}
}
