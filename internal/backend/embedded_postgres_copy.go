package backend

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"
)

// maxPGTable bounds the one table that a session may have, in bytes of COPY text.
const maxPGTable = 64 << 20

// pgRow is a row of that table: an int and a text.
type pgRow struct {
	n int32
	t string
}

// table runs a statement about the session's table. An error that is told ends the statement, any other the connection.
func (s *pgSession) table(kind pgKind) error {
	tag := ""
	switch {
	case kind == pgCreate && s.hasTable:
		return pgErrorf("42P07", "relation \"bench_copy\" already exists")
	case kind == pgCreate:
		s.hasTable, tag = true, "CREATE TABLE"
	case !s.hasTable:
		return pgErrorf("42P01", "relation \"bench_copy\" does not exist")
	case kind == pgTruncate:
		s.rows, tag = nil, "TRUNCATE TABLE"
	case kind == pgCopyIn:
		n, err := s.copyIn()
		if err != nil {
			return err
		}
		tag = "COPY " + strconv.Itoa(n)
	case kind == pgCopyOut:
		s.be.Send(&pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{0, 0}})
		for i, r := range s.ordered() {
			s.be.Send(&pgproto3.CopyData{Data: append(append(strconv.AppendInt(nil, int64(r.n), 10), '\t'), r.t+"\n"...)})
			if i%pgFlushRows == pgFlushRows-1 {
				if err := s.be.Flush(); err != nil {
					return err
				}
			}
		}
		s.be.Send(&pgproto3.CopyDone{})
		tag = "COPY " + strconv.Itoa(len(s.rows))
	case kind == pgSum:
		sum := md5.New()
		for _, r := range s.ordered() {
			sum.Write([]byte(r.t))
		}
		row := [][]byte{[]byte(strconv.Itoa(len(s.rows))), []byte(hex.EncodeToString(sum.Sum(nil)))}
		if len(s.rows) == 0 {
			row[1] = nil // string_agg of nothing is NULL
		}
		s.be.Send((&pgStatement{columns: []pgColumn{{"count", oidInt4}, {"md5", oidText}}}).describe(nil))
		s.be.Send(&pgproto3.DataRow{Values: row})
		tag = "SELECT 1"
	}
	s.be.Send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	return nil
}

func (s *pgSession) ordered() []pgRow {
	slices.SortStableFunc(s.rows, func(a, b pgRow) int { return int(a.n) - int(b.n) })
	return s.rows
}

// copyIn reads rows in COPY's text format. Rows come whole or not at all, so all is read before any is taken.
func (s *pgSession) copyIn() (int, error) {
	s.be.Send(&pgproto3.CopyInResponse{ColumnFormatCodes: []uint16{0, 0}})
	if err := s.be.Flush(); err != nil {
		return 0, err
	}
	var text []byte
	tooLong := false
	for {
		msg, err := s.be.Receive()
		if err != nil {
			return 0, err
		}
		switch m := msg.(type) {
		case *pgproto3.CopyData:
			if tooLong = tooLong || len(text)+len(m.Data) > maxPGTable; !tooLong {
				text = append(text, m.Data...)
			}
		case *pgproto3.CopyFail:
			return 0, pgErrorf("57014", "COPY from stdin failed: %s", m.Message)
		case *pgproto3.CopyDone:
			if tooLong {
				return 0, pgErrorf("54000", "more than %d bytes", maxPGTable)
			}
			rows, err := parseCopy(text)
			s.rows = append(s.rows, rows...)
			return len(rows), err
		case *pgproto3.Flush, *pgproto3.Sync: // PostgreSQL takes and forgets them
		default:
			return 0, pgErrorf("08P01", "unexpected message %T during COPY", msg)
		}
	}
}

func parseCopy(text []byte) ([]pgRow, error) {
	var rows []pgRow
	for line := range bytes.Lines(text) {
		number, rest, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
		n, err := strconv.ParseInt(string(number), 10, 32)
		if !ok || err != nil || bytes.ContainsAny(rest, "\t\\") {
			return nil, pgErrorf("22P04", "row %d: the embedded protocol server takes an int, a tab and a text without escapes", len(rows)+1)
		}
		rows = append(rows, pgRow{int32(n), string(rest)})
	}
	return rows, nil
}
