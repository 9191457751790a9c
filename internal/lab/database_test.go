package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// patience bounds every call to a database: none of these tests waits for it, so that one that ends by it is a hang.
const patience = 40 * time.Second

// dbSession is one connection to a real database, over a path or at the server's own address.
type dbSession interface {
	// do runs a statement without rows.
	do(ctx context.Context, statement string) error
	// ask is the first value of the first row.
	ask(ctx context.Context, query string) (string, error)
	// read calls each for every row, with what scans it, and counts them.
	read(ctx context.Context, query string, each func(scan func(...any) error)) (rows int, err error)
	// sent counts the bytes that went out, or were to.
	sent() int64
	close()
}

// database is a product, and how its words differ.
type database struct {
	name string // of the backend and of the route
	// open logs in over what dial gives.
	open func(ctx context.Context, r *backend.Running, dial dialFunc) (dbSession, error)
	// sleep is a statement that takes so many seconds, asleep counts those at work, endless is a result that has no end within reach.
	sleep, asleep, endless string
	whoAmI, most           string
	// full is the code of the refusal where all connections are taken.
	full func(error) string
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

var databases = []database{
	{
		name: "pg", open: logInPostgres, sleep: "SELECT pg_sleep(%d)", whoAmI: "SELECT pg_backend_pid()::text", most: "SHOW max_connections",
		asleep:  "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'",
		endless: "SELECT repeat('x', 1000), generate_series(1, 10000000)",
		full: func(err error) string {
			if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
				return refused.Code + " " + refused.Message
			}
			return ""
		},
	},
	{
		name: "my", open: logInMySQL, sleep: "SELECT SLEEP(%d)", whoAmI: "SELECT CONNECTION_ID()", most: "SELECT @@max_connections",
		asleep:  "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'",
		endless: "SELECT REPEAT('x', 1000), seq FROM seq_1_to_10000000",
		full: func(err error) string {
			if refused, ok := errors.AsType[*mysql.MySQLError](err); ok {
				return fmt.Sprintf("%d %s", refused.Number, refused.Message)
			}
			return ""
		},
	},
}

// counter counts what is sent over the connection that it dials.
type counter struct{ bytes atomic.Int64 }

func (c *counter) sent() int64 { return c.bytes.Load() }

func (c *counter) over(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return countedConn{conn, c}, nil
	}
}

type countedConn struct {
	net.Conn
	c *counter
}

func (c countedConn) Write(p []byte) (int, error) {
	c.c.bytes.Add(int64(len(p))) // before anything can have come of it
	return c.Conn.Write(p)
}

type pgSession struct {
	*pgx.Conn
	*counter
}

func logInPostgres(ctx context.Context, r *backend.Running, dial dialFunc) (dbSession, error) {
	config, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", r.Access.User, r.Address, r.Access.Database))
	if err != nil {
		return nil, err
	}
	c := &counter{}
	config.Password, config.DialFunc = r.Access.Password, pgconn.DialFunc(c.over(dial))
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return pgSession{conn, c}, nil
}

func (s pgSession) do(ctx context.Context, statement string) error {
	tag, err := s.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
	if err == nil && statement == "COMMIT" && tag.String() != "COMMIT" {
		err = fmt.Errorf("COMMIT was answered by %s", tag)
	}
	return err
}

func (s pgSession) ask(ctx context.Context, query string) (value string, err error) {
	return value, s.QueryRow(ctx, query).Scan(&value)
}

func (s pgSession) read(ctx context.Context, query string, each func(scan func(...any) error)) (n int, err error) {
	rows, err := s.Query(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for ; rows.Next(); n++ {
		each(rows.Scan)
	}
	return n, rows.Err()
}

// copyOut is COPY TO STDOUT, which only PostgreSQL has.
func (s pgSession) copyOut(ctx context.Context, query string, to io.Writer) (rows int64, err error) {
	tag, err := s.PgConn().CopyTo(ctx, to, "COPY ("+query+") TO STDOUT")
	return tag.RowsAffected(), err
}

func (s pgSession) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // it says goodbye to a server that may be frozen
	defer cancel()
	_ = s.Close(ctx)
}

type mySession struct {
	*sql.Conn
	*counter
	pool *sql.DB
}

func logInMySQL(ctx context.Context, r *backend.Running, dial dialFunc) (dbSession, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = r.Access.User, r.Access.Password, r.Access.Database
	c := &counter{}
	config.Net, config.Addr, config.DialFunc = "tcp", r.Address, c.over(dial)
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(ctx) // none but this one: a pool would try a statement again, on another connection
	if err != nil {
		_ = pool.Close()
		return nil, err
	}
	return mySession{conn, c, pool}, nil
}

func (s mySession) do(ctx context.Context, statement string) error {
	_, err := s.ExecContext(ctx, statement)
	return err
}

func (s mySession) ask(ctx context.Context, query string) (value string, err error) {
	return value, s.QueryRowContext(ctx, query).Scan(&value)
}

func (s mySession) read(ctx context.Context, query string, each func(scan func(...any) error)) (n int, err error) {
	rows, err := s.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for ; rows.Next(); n++ {
		each(rows.Scan)
	}
	return n, rows.Err()
}

func (s mySession) close() {
	_ = s.Conn.Close()
	_ = s.pool.Close()
}

// dbWay is how a test comes to a database.
type dbWay struct {
	path    string // "" for the server's own address
	upgrade string // "" for what the client finds
}

func (w dbWay) String() string { return w.path + " " + w.upgrade }

// connect opens a session.
func (d database) connect(ctx context.Context, l *Lab, w dbWay) (dbSession, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dial := new(net.Dialer).DialContext
	if w.path != "" {
		dialer, err := l.Dialer(w.path, d.name)
		if err != nil {
			return nil, err
		}
		dialer.Upgrade = w.upgrade
		dial = dialer.DialContext
	}
	return d.open(ctx, l.backend(d.name), dial)
}

// mustConnect is connect where nothing is wrong; the session ends with the test.
func (d database) mustConnect(t *testing.T, l *Lab, w dbWay) dbSession {
	t.Helper()
	s, err := d.connect(t.Context(), l, w)
	if err != nil {
		t.Fatalf("%s over %v: %v", d.name, w, err)
	}
	t.Cleanup(s.close)
	return s
}

// at is one value asked for at the server's own address.
func (d database) at(t *testing.T, l *Lab, query string) string {
	t.Helper()
	s, err := d.connect(t.Context(), l, dbWay{})
	if err != nil {
		t.Fatalf("%s at its own address: %v", d.name, err)
	}
	defer s.close()
	value, err := s.ask(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %s: %v", d.name, query, err)
	}
	return value
}

// works wants a new session to answer.
func (d database) works(t *testing.T, l *Lab, w dbWay) {
	t.Helper()
	s, err := d.connect(t.Context(), l, w)
	if err != nil {
		t.Errorf("%s over %v: %v", d.name, w, err)
		return
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.ask(ctx, d.whoAmI); err != nil {
		t.Errorf("%s over %v: %v", d.name, w, err)
	}
}

// broke wants the error of a connection that is gone, and not a wait that somebody had to end.
func broke(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error", what)
	case errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%s: nothing came in %v: %v", what, patience, err)
	}
}
