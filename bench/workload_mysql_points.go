package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// The table of sysbench's oltp_*.lua with --table-size=10000, and the statement of oltp_point_select. What is in c and pad follows from the
// row's number here, so that an answer can be compared.
// Source: sysbench 1.0, src/lua/oltp_common.lua.
const (
	pointRows = 10_000
	// pointBatch rows go into one INSERT: some 100 KB.
	pointBatch = 500

	pointTable = `CREATE TABLE IF NOT EXISTS sbtest1 (id INTEGER NOT NULL AUTO_INCREMENT, k INTEGER DEFAULT '0' NOT NULL,
c CHAR(120) DEFAULT '' NOT NULL, pad CHAR(60) DEFAULT '' NOT NULL, PRIMARY KEY (id), KEY k_1 (k)) ENGINE=InnoDB`
	pointCount  = "SELECT COUNT(*) FROM sbtest1"
	pointSelect = "SELECT c FROM sbtest1 WHERE id=?"

	// Several who prepare at once wait for each other.
	pointLock = "SELECT GET_LOCK('tlsroute-bench', 60)"
)

// pointText is so many groups of eleven digits, as sysbench's templates have them.
func pointText(id, column, groups int) string {
	rng := rand.New(rand.NewPCG(uint64(id), uint64(column)))
	var b strings.Builder
	for i := range groups {
		if i > 0 {
			b.WriteByte('-')
		}
		fmt.Fprintf(&b, "%011d", rng.Int64N(100_000_000_000))
	}
	return b.String()
}

func pointC(id int) string   { return pointText(id, 0, 10) }
func pointPad(id int) string { return pointText(id, 1, 5) }

// pointsWorkload is variant point-select.
type pointsWorkload struct{ draws func() *rand.Rand }

func (w pointsWorkload) drawing(draws func() *rand.Rand) workload { return pointsWorkload{draws} }

func (w pointsWorkload) Open(ctx context.Context, conn net.Conn, access Access) (session, error) {
	s, err := openMySQL(ctx, conn, access, pointSelect)
	if err != nil {
		return nil, err
	}
	return &pointsSession{s, w.draws()}, nil
}

// Prepare makes the table and fills it, in one transaction. What is there already stays.
func (w pointsWorkload) Prepare(ctx context.Context, conn net.Conn, access Access) error {
	s, err := openMySQL(ctx, conn, access, "")
	if err != nil {
		return err
	}
	err = s.fillPoints(ctx)
	// ER_PARSE_ERROR is what a server says to SQL that it does not know; this is MySQL's own.
	if myErr, ok := errors.AsType[*mysql.MySQLError](err); ok && myErr.Number == 1064 {
		err = needsServer("variant point-select", "MySQL or MariaDB", err)
	}
	if err != nil {
		err = fmt.Errorf("mysql: make the table: %w", err)
	}
	return errors.Join(err, s.Close())
}

func (s *mysqlSession) fillPoints(ctx context.Context) error {
	var got, rows int
	if err := s.conn.QueryRowContext(ctx, pointLock).Scan(&got); err != nil { // let go of with the connection
		return err
	}
	if got != 1 {
		return errors.New("somebody else has been at it for a minute")
	}
	if _, err := s.conn.ExecContext(ctx, pointTable); err != nil {
		return err
	}
	if err := s.conn.QueryRowContext(ctx, pointCount).Scan(&rows); err != nil {
		return err
	}
	switch rows {
	case pointRows:
		return nil
	case 0:
		return s.insertPoints(ctx)
	}
	return fmt.Errorf("sbtest1 has %d rows, and the bench's has %d: drop it, or use another database", rows, pointRows)
}

func (s *mysqlSession) insertPoints(ctx context.Context) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of what Commit has not ended
	draw := rand.New(rand.NewPCG(1, 1))
	for first := 1; first <= pointRows; first += pointBatch {
		var b strings.Builder
		b.WriteString("INSERT INTO sbtest1 (id, k, c, pad) VALUES ")
		for id := first; id < first+pointBatch; id++ {
			if id > first {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%d,%d,'%s','%s')", id, draw.IntN(pointRows)+1, pointC(id), pointPad(id))
		}
		if _, err := tx.ExecContext(ctx, b.String()); err != nil {
			return err
		}
	}
	return tx.Commit()
}

type pointsSession struct {
	*mysqlSession
	draw *rand.Rand
}

func (s *pointsSession) Do(ctx context.Context) error {
	id := s.draw.IntN(pointRows) + 1
	var c string
	if err := s.stmt.QueryRowContext(ctx, id).Scan(&c); err != nil {
		return fmt.Errorf("mysql: select row %d: %w", id, err)
	}
	if want := pointC(id); c != want {
		return fmt.Errorf("mysql: row %d carries %q, not %q", id, c, want)
	}
	return nil
}
