package bench

import (
	"context"
	"database/sql"
	"fmt"
	"net"

	"github.com/go-sql-driver/mysql"
)

func init() {
	register(kind{
		name: "mysql", backend: "mysql",
		options: []option{{"variant", "simple, or prepared, point-select", func(s *Shape) { setDefault(&s.Variant, "simple") }}},
		check:   func(s Shape) error { return oneOf("variant", s.Variant, "simple", "prepared", "point-select") },
		make: func(s Shape) workload {
			if s.Variant == "point-select" {
				return pointsWorkload{}
			}
			return mysqlWorkload{prepared: s.Variant == "prepared"}
		},
	})
}

// mysqlWorkload asks for ten rows whose contents are known here, in one round trip: the driver puts the parameters into the text.
// In variant prepared the statement is prepared when the session begins, and a request is one execution of it, in the binary protocol.
// Variant point-select is sysbench's script of that name (workload_mysql_points.go).
type mysqlWorkload struct{ prepared bool }

const mysqlQuery = `WITH RECURSIVE s(n) AS (SELECT ? UNION ALL SELECT n+1 FROM s WHERE n < ?) SELECT n, MD5(n) FROM s`

// mysqlPreparedQuery says the type of the first number: a parameter has none when MariaDB makes the columns of a prepared statement.
const mysqlPreparedQuery = `WITH RECURSIVE s(n) AS (SELECT CAST(? AS SIGNED) UNION ALL SELECT n+1 FROM s WHERE n < ?) SELECT n, MD5(n) FROM s`

func (w mysqlWorkload) Open(ctx context.Context, conn net.Conn, access Access) (session, error) {
	statement := ""
	if w.prepared {
		statement = mysqlPreparedQuery
	}
	s, err := openMySQL(ctx, conn, access, statement)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openMySQL logs in, and prepares a statement where there is one.
func openMySQL(ctx context.Context, conn net.Conn, access Access, statement string) (*mysqlSession, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = access.User, access.Password, access.Database
	cfg.Net, cfg.Addr = "tcp", "127.0.0.1:3306"
	cfg.InterpolateParams = true
	cfg.Logger = &mysql.NopLogger{}
	// The check reads one byte off the raw socket of a conn that shows it, behind the back of the TLS in between.
	cfg.CheckConnLiveness = false
	cfg.DialFunc = once(conn)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("mysql: configure: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	// A pinned sql.Conn does not reconnect; the pool behind it has the one connection and could not get another.
	c, err := db.Conn(ctx)
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("mysql: %w", err)
	}
	s := &mysqlSession{db: db, conn: c}
	if statement != "" {
		if s.stmt, err = c.PrepareContext(ctx, statement); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("mysql: prepare: %w", err)
		}
	}
	return s, nil
}

type mysqlSession struct {
	db   *sql.DB
	conn *sql.Conn
	stmt *sql.Stmt // nil when the parameters go into the text
	seq  int64
}

func (s *mysqlSession) Do(ctx context.Context) error {
	s.seq++
	first := s.seq * rowsPerQuery % 1_000_000
	rows, err := s.query(ctx, first, first+rowsPerQuery-1)
	if err != nil {
		return fmt.Errorf("mysql: query: %w", err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err, or comes after the answer
	check := rowCheck{next: first}
	for rows.Next() {
		var n int64
		var sum string
		if err := rows.Scan(&n, &sum); err != nil {
			return fmt.Errorf("mysql: scan: %w", err)
		}
		if err := check.row(n, sum); err != nil {
			return fmt.Errorf("mysql: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("mysql: read rows: %w", err)
	}
	if err := check.end(first); err != nil {
		return fmt.Errorf("mysql: %w", err)
	}
	return nil
}

func (s *mysqlSession) query(ctx context.Context, first, last int64) (*sql.Rows, error) {
	if s.stmt != nil {
		return s.stmt.QueryContext(ctx, first, last)
	}
	return s.conn.QueryContext(ctx, mysqlQuery, first, last)
}

func (s *mysqlSession) Close() error {
	if s.stmt != nil {
		_ = s.stmt.Close()
	}
	_ = s.conn.Close()
	return s.db.Close()
}
