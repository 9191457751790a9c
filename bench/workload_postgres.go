package bench

import (
	"context"
	"crypto/md5" // the server's md5() is what is checked, not a secret
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

func init() {
	register(kind{
		name: "postgres", backend: "postgres",
		options: []option{{"variant", "prepared, or simple, copy, pool, select-only, tpcb", func(s *Shape) { setDefault(&s.Variant, "prepared") }}, {"bytes", "1 MiB, of a copy", func(s *Shape) {
			if s.Variant == "copy" {
				setDefault(&s.Bytes, 1<<20)
			}
		}}},
		opens: func(s Shape) bool { return s.Variant == "pool" },
		check: func(s Shape) error {
			switch {
			case s.Variant == "copy":
				return between("bytes", s.Bytes, 1, maxPostgresCopy)
			case s.Bytes != 0:
				return optionErrorf("bytes", "bytes are of variant copy")
			}
			return oneOf("variant", s.Variant, "prepared", "simple", "copy", "pool", "select-only", "tpcb")
		},
		make: func(s Shape) workload {
			w := postgresWorkload{variant: s.Variant, bytes: s.Bytes}
			if s.Variant == "select-only" || s.Variant == "tpcb" {
				return pgbenchWorkload{postgresWorkload: w}
			}
			return w
		},
	})
}

// postgresWorkload asks for ten rows whose contents are known here: numbers and their MD5. The statement is prepared by pgx on
// its first use, so a new tunnel pays a round trip more than an open one, as it does for every pgx user.
//
// In variant simple the parameters are in the text, and a query is one round trip from the first on. Variant pool is that on a new tunnel for
// each query: what a pool without a lower bound, or an application without a pool, does.
// Variant copy moves rows in and out of a temporary table. Variants select-only and tpcb are pgbench's scripts of these names, on tables that the
// bench makes before the load (workload_postgres_bench.go).
type postgresWorkload struct {
	variant string
	bytes   int64
}

const (
	postgresQuery = `SELECT g, md5(g::text) FROM generate_series($1::int,$2::int) AS g`
	rowsPerQuery  = 10
)

func (w postgresWorkload) Open(ctx context.Context, conn net.Conn, access Access) (session, error) {
	pg, err := w.connect(ctx, conn, access)
	if err != nil {
		return nil, err
	}
	s := &postgresSession{conn: conn, pg: pg, bytes: w.bytes, nonce: newNonce()}
	if w.variant == "copy" {
		if _, err := pg.PgConn().Exec(ctx, copyTable).ReadAll(); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("postgres: make the table: %w", err)
		}
	}
	return s, nil
}

func (w postgresWorkload) connect(ctx context.Context, conn net.Conn, access Access) (*pgx.Conn, error) {
	// The connection string names what the environment (PGHOST, PGSSLMODE, …) could otherwise set; what may need quoting is
	// put in afterwards.
	cfg, err := pgx.ParseConfig("host=127.0.0.1 port=5432 sslmode=disable channel_binding=disable target_session_attrs=any connect_timeout=0")
	if err != nil {
		return nil, fmt.Errorf("postgres: configure: %w", err)
	}
	cfg.User, cfg.Password, cfg.Database = access.User, access.Password, access.Database
	cfg.RuntimeParams = map[string]string{"application_name": "tlsroute-bench"}
	cfg.Fallbacks = nil
	cfg.DialFunc = once(conn)
	if w.variant == "simple" || w.variant == "copy" || w.variant == "pool" {
		cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	}
	pg, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return pg, nil
}

type postgresSession struct {
	conn net.Conn
	pg   *pgx.Conn
	seq  int

	// Of variant copy: the size of one, the name of its contents, and what the last one moved in both directions.
	bytes int64
	nonce string
	moved int64
}

func (s *postgresSession) Do(ctx context.Context) error {
	s.seq++
	if s.bytes > 0 {
		return s.copy(ctx)
	}
	first := s.seq * rowsPerQuery % 1_000_000
	rows, err := s.pg.Query(ctx, postgresQuery, int32(first), int32(first+rowsPerQuery-1))
	if err != nil {
		return fmt.Errorf("postgres: query: %w", err)
	}
	defer rows.Close()
	check := rowCheck{next: int64(first)}
	for rows.Next() {
		var n int64
		var sum string
		if err := rows.Scan(&n, &sum); err != nil {
			return fmt.Errorf("postgres: scan: %w", err)
		}
		if err := check.row(n, sum); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("postgres: read rows: %w", err)
	}
	if err := check.end(int64(first)); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

func (s *postgresSession) Close() error {
	if s.pg.IsClosed() {
		// pgx closes a broken connection on a goroutine of its own that may wait 15 s for the server's goodbye: end that.
		_ = s.conn.Close()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.pg.Close(ctx); err != nil {
			_ = s.conn.Close()
		}
	}
	select {
	case <-s.pg.PgConn().CleanupDone():
	case <-time.After(2 * closeTimeout):
		return errors.New("postgres: the connection was not cleaned up")
	}
	return nil
}

// once is a dial function that gives conn the first time and an error ever after: a driver that would quietly reconnect,
// or dial to cancel a query, must not leave the path under measurement.
func once(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	used := make(chan struct{}, 1)
	return func(context.Context, string, string) (net.Conn, error) {
		select {
		case used <- struct{}{}:
			return conn, nil
		default:
			return nil, errors.New("the tunnel is gone, and the driver may not dial for itself")
		}
	}
}

// rowCheck compares rows of (n, md5 of n in decimal) with what they must be, in order.
type rowCheck struct {
	next int64
	buf  [20]byte
}

func (c *rowCheck) row(n int64, sum string) error {
	if n != c.next {
		return fmt.Errorf("row %d came where row %d was due", n, c.next)
	}
	want := md5.Sum(strconv.AppendInt(c.buf[:0], n, 10))
	var text [2 * md5.Size]byte
	hex.Encode(text[:], want[:])
	if sum != string(text[:]) {
		return fmt.Errorf("row %d carries %q, not %q", n, sum, text[:])
	}
	c.next++
	return nil
}

func (c *rowCheck) end(first int64) error {
	if got := c.next - first; got != rowsPerQuery {
		return fmt.Errorf("%d rows came, not %d", got, rowsPerQuery)
	}
	return nil
}
