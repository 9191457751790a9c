package backend

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func init() { Register(Driver{Kind: MySQL, Name: Embedded, Start: startEmbeddedMySQL}) }

const (
	mysqlVersionText = "8.0.0-tlsroute-bench-embedded"
	// mysqlCharset is utf8mb4_general_ci, mysqlBinary what numbers are declared in.
	mysqlCharset, mysqlBinary = 45, 63
	// mysqlAutocommit is the one server status there is.
	mysqlAutocommit = 2
	// maxMySQLDepth is MySQL's cte_max_recursion_depth. MariaDB stops there too, with a warning instead of an error.
	maxMySQLDepth = 1000
	mysqlSeries   = "with recursive s ( n ) as ( select N union all select n + N from s where n < N ) select n , md5 ( n ) from s"
)

func startEmbeddedMySQL(_ context.Context, spec Spec, r *Running) error {
	r.Access = Access{User: userName, Password: newPassword(), Database: databaseName}
	r.Info.Product, r.Info.Version = "tlsroute-bench protocol server", "1"
	r.Info.Note = "protocol server: speaks the MySQL protocol (greeting first, mysql_native_password, and caching_sha2_password for the user " + MySQLSHA2User +
		") and is no database. It answers ping, SELECT 1, SELECT 'text', SELECT VERSION() and one WITH RECURSIVE series with MD5, prepares the same series, " +
		"takes any SET and FLUSH PRIVILEGES for done, and refuses all else. It does not do: " + strings.Join(embeddedMySQLLacks, "; ")
	return serveMySQL(spec, r, &mysqlServer{password: r.Access.Password})
}

// embeddedMySQLLacks is what a reader of results must know; a test tries each.
var embeddedMySQLLacks = []string{
	"tables", "transactions", "LOAD DATA", "KILL", "other prepared statements", "packets beyond 4 MiB", "compression", "TLS of its own",
}

func serveMySQL(spec Spec, r *Running, m *mysqlServer) error {
	m.handle = m.serve
	return serve(spec, r, &m.server)
}

type mysqlServer struct {
	server
	password string
	ids      atomic.Uint32
	tls      *tls.Config // nil: none is offered
	key      rsaKey
	known    atomic.Bool // the account of caching_sha2_password has logged in
}

// mysqlError is an error that the client is told.
type mysqlError struct {
	code           uint16
	state, message string
}

func (e *mysqlError) Error() string { return fmt.Sprintf("%s (%d, %s)", e.message, e.code, e.state) }

func (m *mysqlServer) serve(c net.Conn) {
	conn := newMySQLConn(c)
	late := time.AfterFunc(loginTimeout, func() { c.Close() })
	err := m.login(conn)
	late.Stop()
	for err == nil {
		err = m.command(conn)
	}
	if told, ok := errors.AsType[*mysqlError](err); ok {
		conn.fail(told)
		err = conn.flush()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.log.Debug("mysql connection ended", "remote", c.RemoteAddr(), "err", err)
	}
}

func unknownDatabase(name string) *mysqlError {
	return &mysqlError{1049, "42000", fmt.Sprintf("Unknown database '%s'", name)}
}

// command serves one command. Errors that the client is told are not returned: the connection goes on.
func (m *mysqlServer) command(c *mysqlConn) error {
	c.seq = 0
	body, err := c.read()
	if errors.Is(err, errMySQLTooLong) {
		return &mysqlError{1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes"}
	}
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return &mysqlError{1835, "HY000", "Malformed communication packet"}
	}
	switch arg := string(body[1:]); body[0] {
	case 0x01: // COM_QUIT
		return io.EOF
	case 0x02: // COM_INIT_DB
		if arg != databaseName {
			c.fail(unknownDatabase(arg))
		} else {
			c.ok()
		}
	case 0x03: // COM_QUERY
		if err := m.query(c, arg); err != nil {
			c.fail(err)
		}
	case 0x0e, 0x1f: // COM_PING, COM_RESET_CONNECTION
		c.ok()
	case 0x16: // COM_STMT_PREPARE
		c.prepare(arg)
	case 0x17: // COM_STMT_EXECUTE
		c.execute(body[1:])
	case 0x19: // COM_STMT_CLOSE
		c.forget(body[1:])
	default:
		c.fail(&mysqlError{1047, "08S01", fmt.Sprintf("Unknown command %#02x", body[0])})
	}
	return c.flush()
}

func (m *mysqlServer) query(c *mysqlConn, query string) *mysqlError {
	words, ok := sqlWords(query, true)
	if n := len(words); n > 0 && words[n-1].text == ";" {
		words = words[:n-1]
	}
	key, args := shape(words)
	label := "" // of a column without a name: what was written
	if ok && len(words) > 1 {
		label = strings.TrimRight(query[words[1].at:], "; \t\r\n")
	}
	switch {
	case !ok || len(words) == 0:
		return &mysqlError{1065, "42000", "Query was empty or a literal has no end"}
	case strings.HasPrefix(key, "set "):
		c.ok()
	case key == "flush privileges": // MySQL forgets then who has logged in by caching_sha2_password
		m.known.Store(false)
		c.ok()
	case key == "select N":
		c.rows([]mysqlColumn{{label, true}}, one(args[0].text))
	case key == "select S":
		c.rows([]mysqlColumn{{args[0].text, false}}, one(args[0].text))
	case key == "select version ( )", key == "select @@ version":
		c.rows([]mysqlColumn{{label, false}}, one(mysqlVersionText))
	case key == "select @@ max_allowed_packet":
		c.rows([]mysqlColumn{{label, true}}, one(strconv.Itoa(maxMySQLPacket)))
	case key == "select @@ version_comment limit N":
		c.rows([]mysqlColumn{{"@@version_comment", false}}, one("tlsroute-bench embedded protocol server (not MySQL)"))
	case key == mysqlSeries && args[1].text == "1":
		from, err1 := strconv.ParseInt(args[0].text, 10, 32)
		to, err2 := strconv.ParseInt(args[2].text, 10, 32)
		if err1 != nil || err2 != nil {
			return &mysqlError{1690, "22003", "Out of range value"}
		}
		if to-from > maxMySQLDepth {
			return &mysqlError{3636, "HY000", fmt.Sprintf("Recursive query aborted after %d iterations", maxMySQLDepth+1)}
		}
		first := true
		c.rows([]mysqlColumn{{"n", true}, {"MD5(n)", false}}, func() ([]string, bool) {
			if !first && from > to { // the first row comes whatever the bound
				return nil, false
			}
			n := strconv.FormatInt(from, 10)
			sum := md5.Sum([]byte(n))
			first = false
			from++
			return []string{n, hex.EncodeToString(sum[:])}, true
		})
	default:
		return &mysqlError{1064, "42000", "The embedded protocol server is no database and does not know this statement"}
	}
	return nil
}

// mysqlColumn is a column: a number (BIGINT) or a text (VARCHAR).
type mysqlColumn struct {
	name   string
	number bool
}

func one(value string) func() ([]string, bool) {
	left := true
	return func() ([]string, bool) {
		was := left
		left = false
		return []string{value}, was
	}
}

// rows writes a text result set.
func (c *mysqlConn) rows(columns []mysqlColumn, next func() ([]string, bool)) {
	c.write([]byte{byte(len(columns))})
	c.columns(columns)
	for row, ok := next(); ok; row, ok = next() {
		var b []byte
		for _, v := range row {
			b = appendLenenc(b, v)
		}
		c.write(b)
	}
	c.eof()
}

// columns writes definitions.
func (c *mysqlConn) columns(columns []mysqlColumn) {
	for _, col := range columns {
		b := appendLenenc(nil, "def")
		b = append(b, 0, 0, 0) // schema, table, original table
		b = appendLenenc(b, col.name)
		b = append(b, 0, 0x0c) // original name, length of what follows
		charset, size, kind := uint16(mysqlCharset), uint32(1020), byte(0xfd)
		if col.number {
			charset, size, kind = mysqlBinary, 20, 0x08
		}
		b = binary.LittleEndian.AppendUint16(b, charset)
		b = binary.LittleEndian.AppendUint32(b, size)
		b = append(b, kind, 0, 0, 0, 0, 0) // flags, decimals, filler
		c.write(b)
	}
	c.eof()
}

func (c *mysqlConn) ok()  { c.write([]byte{0, 0, 0, mysqlAutocommit, 0, 0, 0}) }
func (c *mysqlConn) eof() { c.write([]byte{0xfe, 0, 0, mysqlAutocommit, 0}) }

func (c *mysqlConn) fail(e *mysqlError) {
	b := append([]byte{0xff, byte(e.code), byte(e.code >> 8), '#'}, e.state...)
	c.write(append(b, e.message...))
}

func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
