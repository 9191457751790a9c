package backend

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The types the embedded server knows, by their OID in every PostgreSQL.
const (
	oidInt4 = 23
	oidText = 25
)

type pgKind int

const (
	pgEmpty   pgKind = iota
	pgValue          // one row of the one argument
	pgVersion        // one row: what this is
	pgSeries         // g and md5(g) from the first argument to the second

	// Those of the one table (embedded_postgres_copy.go), in the simple protocol only.
	pgCreate
	pgTruncate
	pgCopyIn
	pgCopyOut
	pgSum // count and checksum
)

// pgShapes are the statements, with A for a literal or parameter.
var pgShapes = map[string]struct {
	kind    pgKind
	columns []pgColumn
}{
	"select A":           {pgValue, []pgColumn{{"?column?", 0}}}, // of the literal's type
	"select A :: text":   {pgValue, []pgColumn{{"text", oidText}}},
	"select A :: int":    {pgValue, []pgColumn{{"int4", oidInt4}}},
	"select version ( )": {pgVersion, []pgColumn{{"version", oidText}}},
	"select g , md5 ( g :: text ) from generate_series ( A :: int , A :: int ) as g": {
		pgSeries, []pgColumn{{"g", oidInt4}, {"md5", oidText}},
	},
	"create temporary table bench_copy ( n int , t text )": {kind: pgCreate},
	"truncate bench_copy":                                        {kind: pgTruncate},
	"copy bench_copy from stdin":                                 {kind: pgCopyIn},
	"copy ( select n , t from bench_copy order by n ) to stdout": {kind: pgCopyOut},
	"select count ( * ) :: int , md5 ( string_agg ( t , A order by n ) ) from bench_copy": {kind: pgSum},
}

type pgColumn struct {
	name string
	oid  uint32
}

// pgArg is a literal, or a parameter when number is not zero.
type pgArg struct {
	number int
	text   string
	oid    uint32
}

type pgStatement struct {
	kind    pgKind
	columns []pgColumn
	args    []pgArg
	params  []uint32 // the types of $1, $2
}

// parsePG looks up each statement of a query.
func parsePG(query string) ([]*pgStatement, error) {
	words, ok := sqlWords(query, false)
	if !ok {
		return nil, pgErrorf("42601", "a literal or comment has no end")
	}
	var statements []*pgStatement
	for begin, i := 0, 0; i <= len(words); i++ {
		if i < len(words) && (words[i].kind != 'w' || words[i].text != ";") {
			if words[i].kind == 'w' && (words[i].text == "integer" || words[i].text == "int4") {
				words[i].text = "int"
			}
			continue
		}
		if i > begin {
			st, err := lookupPG(words[begin:i])
			if err != nil {
				return nil, err
			}
			statements = append(statements, st)
		}
		begin = i + 1
	}
	return statements, nil
}

func lookupPG(words []sqlWord) (*pgStatement, error) {
	key, args := shape(words)
	fields := strings.Fields(key)
	for i, f := range fields {
		if f == "N" || f == "S" || f == "P" { // words are in lower case
			fields[i] = "A"
		}
	}
	known, ok := pgShapes[strings.Join(fields, " ")]
	if !ok {
		return nil, pgErrorf("0A000", "the embedded protocol server is no database and does not know this statement")
	}
	st := &pgStatement{kind: known.kind, columns: known.columns}
	if known.columns == nil {
		if len(args) > 0 && (args[0].kind != 's' || args[0].text != "") {
			return nil, pgErrorf("0A000", "the embedded protocol server joins texts with '' only")
		}
		return st, nil
	}
	for _, w := range args {
		arg := pgArg{text: w.text, oid: oidInt4}
		switch {
		case st.columns[0].oid != 0:
			arg.oid = st.columns[0].oid
		case w.kind == 's', w.kind == 'p':
			arg.oid = oidText
		}
		if w.kind == 'p' {
			n, err := strconv.Atoi(w.text)
			if err != nil || n < 1 || n > len(args) {
				return nil, pgErrorf("42P02", "there is no parameter $%s", w.text)
			}
			arg.number = n
			for len(st.params) < n {
				st.params = append(st.params, arg.oid)
			}
		}
		st.args = append(st.args, arg)
	}
	if st.columns[0].oid == 0 {
		st.columns = []pgColumn{{st.columns[0].name, st.args[0].oid}}
	}
	return st, nil
}

// describe lists the columns; formats as in a Bind message, nil before there is one.
func (st *pgStatement) describe(formats []int16) *pgproto3.RowDescription {
	row := &pgproto3.RowDescription{}
	for i, c := range st.columns {
		size := int16(-1)
		if c.oid == oidInt4 {
			size = 4
		}
		row.Fields = append(row.Fields, pgproto3.FieldDescription{
			Name: []byte(c.name), DataTypeOID: c.oid, DataTypeSize: size, TypeModifier: -1, Format: formatOf(formats, i),
		})
	}
	return row
}

// formatOf applies the protocol's rule: none is text for all, one is for all, else one each.
func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 0:
		return 0
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return 0
}

// pgPortal gives the rows of a bound statement one at a time, so that a long series takes no memory.
type pgPortal struct {
	statement *pgStatement
	formats   []int16
	next      func() ([][]byte, bool)
}

// bind takes the parameters. Nothing of m is kept: pgproto3 reuses it.
func (st *pgStatement) bind(m *pgproto3.Bind) (*pgPortal, error) {
	if len(m.Parameters) != len(st.params) {
		return nil, pgErrorf("08P01", "bind message supplies %d parameters, but the statement requires %d", len(m.Parameters), len(st.params))
	}
	if n := len(m.ResultFormatCodes); n > 1 && n != len(st.columns) {
		return nil, pgErrorf("08P01", "bind message has %d result formats but query has %d columns", n, len(st.columns))
	}
	p := &pgPortal{statement: st, formats: append([]int16(nil), m.ResultFormatCodes...)}
	texts, ints, null := make([]string, len(st.args)), make([]int32, len(st.args)), false
	for i, arg := range st.args {
		text := arg.text
		if arg.number > 0 {
			raw := m.Parameters[arg.number-1]
			if raw == nil {
				null = true
				continue
			}
			text = string(raw)
			if formatOf(m.ParameterFormatCodes, arg.number-1) == 1 && arg.oid == oidInt4 {
				if len(raw) != 4 {
					return nil, pgErrorf("22P03", "incorrect binary data format in bind parameter %d", arg.number)
				}
				text = strconv.Itoa(int(int32(binary.BigEndian.Uint32(raw))))
			}
		}
		if arg.oid == oidInt4 {
			n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
			if errors.Is(err, strconv.ErrRange) {
				return nil, pgErrorf("22003", "value %q is out of range for type integer", text)
			} else if err != nil {
				return nil, pgErrorf("22P02", "invalid input syntax for type integer: %q", text)
			}
			ints[i] = int32(n)
		}
		texts[i] = text
	}
	done := false
	once := func(value []byte) func() ([][]byte, bool) {
		return func() ([][]byte, bool) {
			if done {
				return nil, false
			}
			done = true
			return [][]byte{value}, true
		}
	}
	switch st.kind {
	case pgEmpty, pgCreate, pgTruncate, pgCopyIn, pgCopyOut, pgSum: // the last five are never bound
		p.next = func() ([][]byte, bool) { return nil, false }
	case pgVersion:
		p.next = once([]byte(pgVersionText))
	case pgValue:
		switch {
		case null:
			p.next = once(nil)
		case st.columns[0].oid == oidInt4:
			p.next = once(p.int4(ints[0], 0))
		default:
			p.next = once([]byte(texts[0]))
		}
	case pgSeries:
		from, to := int64(ints[0]), int64(ints[1])
		p.next = func() ([][]byte, bool) {
			if null || from > to {
				return nil, false
			}
			sum := md5.Sum(strconv.AppendInt(nil, from, 10))
			row := [][]byte{p.int4(int32(from), 0), []byte(hex.EncodeToString(sum[:]))}
			from++
			return row, true
		}
	}
	return p, nil
}

func (p *pgPortal) int4(n int32, column int) []byte {
	if formatOf(p.formats, column) == 1 {
		return int4Binary(n)
	}
	return strconv.AppendInt(nil, int64(n), 10)
}
