package bench

import (
	"bytes"
	"context"
	"crypto/md5" // the server's md5() is what is checked, not a secret
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// The statements of variant copy: a table of the session alone, its rows in, what the server makes of them, and its rows out again.
const (
	copyTable = "CREATE TEMPORARY TABLE bench_copy (n int, t text)"
	copyEmpty = "TRUNCATE bench_copy"
	copyIn    = "COPY bench_copy FROM STDIN"
	copySum   = "SELECT count(*)::int, md5(string_agg(t, '' ORDER BY n)) FROM bench_copy"
	copyOut   = "COPY (SELECT n, t FROM bench_copy ORDER BY n) TO STDOUT"

	maxPostgresCopy = 16 << 20 // a copy is held here to be compared
)

// copyRows is rows of new contents, as COPY has them, of about so many bytes.
type copyRows struct {
	text []byte
	n    int64
	sum  string // md5 of the texts, one behind the other
}

func newCopyRows(nonce string, seq int, size int64) copyRows {
	stream := witness.NewStream(nonce, Up, seq)
	sum := md5.New()
	var r copyRows
	var raw [32]byte
	var t [2 * len(raw)]byte
	for int64(len(r.text)) < size {
		stream.Fill(raw[:])
		hex.Encode(t[:], raw[:])
		sum.Write(t[:])
		r.text = strconv.AppendInt(r.text, r.n, 10)
		r.text = append(append(append(r.text, '\t'), t[:]...), '\n')
		r.n++
	}
	r.sum = hex.EncodeToString(sum.Sum(nil))
	return r
}

// copy moves new rows in and out. Count and checksum are the server's; what comes out is compared byte for byte.
func (s *postgresSession) copy(ctx context.Context) error {
	rows := newCopyRows(s.nonce, s.seq, s.bytes)
	pg := s.pg.PgConn()
	if _, err := pg.Exec(ctx, copyEmpty).ReadAll(); err != nil {
		return fmt.Errorf("postgres: empty the table: %w", err)
	}
	tag, err := pg.CopyFrom(ctx, bytes.NewReader(rows.text), copyIn)
	if err := copied(tag, rows.n, err); err != nil {
		return fmt.Errorf("postgres: copy in: %w", err)
	}
	if err := rows.check(pg.Exec(ctx, copySum).ReadAll()); err != nil {
		return fmt.Errorf("postgres: after the copy in: %w", err)
	}
	left := &leftBytes{rows.text}
	tag, err = pg.CopyTo(ctx, left, copyOut)
	if err := copied(tag, rows.n, err); err != nil {
		return fmt.Errorf("postgres: copy out: %w", err)
	}
	if len(left.want) > 0 {
		return fmt.Errorf("postgres: copy out: the last %d of %d bytes did not come", len(left.want), len(rows.text))
	}
	s.moved = 2 * int64(len(rows.text))
	return nil
}

func copied(tag pgconn.CommandTag, rows int64, err error) error {
	if err == nil && tag.RowsAffected() != rows {
		err = fmt.Errorf("the server says %q for %d rows", tag, rows)
	}
	return err
}

// check compares what the server says of the table.
func (r copyRows) check(results []*pgconn.Result, err error) error {
	if err != nil {
		return err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 2 {
		return errors.New("count and checksum are not one row of two")
	}
	if row := results[0].Rows[0]; string(row[0]) != strconv.FormatInt(r.n, 10) || string(row[1]) != r.sum {
		return fmt.Errorf("the server has %s rows with checksum %s, sent were %d with %s", row[0], row[1], r.n, r.sum)
	}
	return nil
}

// leftBytes takes what is written as long as it is what is wanted next.
type leftBytes struct{ want []byte }

func (l *leftBytes) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(l.want, p) {
		return 0, fmt.Errorf("%.80q came where %.80q was due", p, l.want)
	}
	l.want = l.want[len(p):]
	return len(p), nil
}

// Moved is of the last copy; a query is no transfer.
func (s *postgresSession) Moved() int64 { return s.moved }
