package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The tables of pgbench at scale 1 under names of our own: a database that pgbench has filled is somebody's.
// Source: PostgreSQL 15, pgbench, "What Is the 'Transaction' Actually Performed in pgbench?"; the columns are those of pgbench -i.
const (
	pgAccounts, pgTellers, pgBranches = 100_000, 10, 1

	pgTables = `
CREATE TABLE IF NOT EXISTS bench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)) WITH (fillfactor=100);
CREATE TABLE IF NOT EXISTS bench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)) WITH (fillfactor=100);
CREATE TABLE IF NOT EXISTS bench_branches (bid int PRIMARY KEY, bbalance int, filler char(88)) WITH (fillfactor=100);
CREATE TABLE IF NOT EXISTS bench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))`
	pgCounts = "SELECT (SELECT count(*) FROM bench_accounts), (SELECT count(*) FROM bench_tellers), (SELECT count(*) FROM bench_branches)"

	// pgLock is what several who prepare at once wait for: CREATE TABLE IF NOT EXISTS alone fails for the second of two.
	pgLock = "SELECT pg_advisory_xact_lock(7237473862)"
)

// pgbenchWorkload is variants select-only and tpcb.
type pgbenchWorkload struct {
	postgresWorkload
	draws func() *rand.Rand
}

func (w pgbenchWorkload) drawing(draws func() *rand.Rand) workload {
	w.draws = draws
	return w
}

func (w pgbenchWorkload) Open(ctx context.Context, conn net.Conn, access Access) (session, error) {
	pg, err := w.connect(ctx, conn, access)
	if err != nil {
		return nil, err
	}
	return &pgbenchSession{postgresSession{conn: conn, pg: pg}, w.variant, w.draws()}, nil
}

// Prepare makes the tables and fills them, in one transaction. What is there already stays.
func (w pgbenchWorkload) Prepare(ctx context.Context, conn net.Conn, access Access) error {
	pg, err := w.connect(ctx, conn, access)
	if err != nil {
		return err
	}
	s := &postgresSession{conn: conn, pg: pg}
	err = makeTables(ctx, pg.PgConn())
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "0A000" { // feature_not_supported
		err = needsServer("variant "+w.variant, "PostgreSQL", err)
	}
	if err != nil {
		err = fmt.Errorf("postgres: make the tables: %w", err)
	}
	return errors.Join(err, s.Close())
}

func makeTables(ctx context.Context, pg *pgconn.PgConn) error {
	made := false
	for _, statement := range []string{"BEGIN", pgLock, pgTables, pgCounts} {
		results, err := pg.Exec(ctx, statement).ReadAll()
		if err != nil {
			return err
		}
		if statement != pgCounts {
			continue
		}
		switch counts := string(bytes.Join(results[0].Rows[0], []byte(" "))); counts {
		case fmt.Sprint(pgAccounts, pgTellers, pgBranches):
		case "0 0 0":
			made = true
			if err := fillTables(ctx, pg); err != nil {
				return err
			}
		default:
			return fmt.Errorf("bench_accounts, bench_tellers and bench_branches have %s rows, and the bench's have %d %d %d: drop them, or use another database",
				counts, pgAccounts, pgTellers, pgBranches)
		}
	}
	if _, err := pg.Exec(ctx, "COMMIT").ReadAll(); err != nil || !made {
		return err
	}
	_, err := pg.Exec(ctx, "VACUUM ANALYZE bench_accounts").ReadAll() // as pgbench -i does, so that a first read writes no hint bits
	return err
}

func fillTables(ctx context.Context, pg *pgconn.PgConn) error {
	for _, t := range []struct {
		into string
		rows int
		row  string // of its number and the branch
	}{
		{"bench_branches (bid, bbalance)", pgBranches, "%d\t0\n"},
		{"bench_tellers (tid, bid, tbalance)", pgTellers, "%d\t1\t0\n"},
		{"bench_accounts (aid, bid, abalance, filler)", pgAccounts, "%d\t1\t0\t\n"}, // char(84) fills itself up
	} {
		var text strings.Builder
		for n := 1; n <= t.rows; n++ {
			fmt.Fprintf(&text, t.row, n)
		}
		tag, err := pg.CopyFrom(ctx, strings.NewReader(text.String()), "COPY "+t.into+" FROM STDIN")
		if err := copied(tag, int64(t.rows), err); err != nil {
			return err
		}
	}
	return nil
}

// pgSelect is the select-only script's, but that it asks for the key too, to know that the row is the right one: the balance may be any.
const pgSelect = "SELECT aid, abalance FROM bench_accounts WHERE aid = $1"

type pgbenchSession struct {
	postgresSession
	variant string
	draw    *rand.Rand
}

func (s *pgbenchSession) Do(ctx context.Context) error {
	if s.variant == "tpcb" {
		return s.tpcb(ctx)
	}
	return s.account(ctx, s.draw.IntN(pgAccounts)+1)
}

func (s *pgbenchSession) account(ctx context.Context, aid int) error {
	var got, balance int
	if err := s.pg.QueryRow(ctx, pgSelect, aid).Scan(&got, &balance); err != nil {
		return fmt.Errorf("postgres: select account %d: %w", aid, err)
	}
	if got != aid {
		return fmt.Errorf("postgres: asked for account %d, and got account %d", aid, got)
	}
	return nil
}

// tpcb is the script tpcb-like: seven statements, seven round trips. At scale 1 all clients wait for the one branch, as they do with pgbench.
func (s *pgbenchSession) tpcb(ctx context.Context) error {
	aid, tid, bid := s.draw.IntN(pgAccounts)+1, s.draw.IntN(pgTellers)+1, s.draw.IntN(pgBranches)+1
	delta := s.draw.IntN(10_001) - 5000
	if err := s.exec(ctx, "BEGIN", "BEGIN"); err != nil {
		return err
	}
	if err := s.exec(ctx, "UPDATE 1", "UPDATE bench_accounts SET abalance = abalance + $1 WHERE aid = $2", delta, aid); err != nil {
		return err
	}
	if err := s.account(ctx, aid); err != nil {
		return err
	}
	for _, t := range []struct {
		want, sql string
		args      []any
	}{
		{"UPDATE 1", "UPDATE bench_tellers SET tbalance = tbalance + $1 WHERE tid = $2", []any{delta, tid}},
		{"UPDATE 1", "UPDATE bench_branches SET bbalance = bbalance + $1 WHERE bid = $2", []any{delta, bid}},
		{"INSERT 0 1", "INSERT INTO bench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)", []any{tid, bid, aid, delta}},
		{"COMMIT", "COMMIT", nil},
	} {
		if err := s.exec(ctx, t.want, t.sql, t.args...); err != nil {
			return err
		}
	}
	return nil
}

// exec runs one statement, prepared when it has arguments, and compares what the server says that it did.
func (s *pgbenchSession) exec(ctx context.Context, want, sql string, args ...any) error {
	tag, err := s.pg.Exec(ctx, sql, args...)
	if err == nil && tag.String() != want {
		err = fmt.Errorf("the server says %q, not %q", tag, want)
	}
	if err != nil {
		verb, _, _ := strings.Cut(sql, " SET ")
		return fmt.Errorf("postgres: %.60s: %w", verb, err)
	}
	return nil
}
