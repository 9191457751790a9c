package backend

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// mysqlPrepared is the one statement that the embedded server prepares: the series, with the type of its first number said, since a
// parameter has none when a statement is prepared.
const mysqlPrepared = "with recursive s ( n ) as ( select cast ( P as signed ) union all select n + N from s where n < P ) select n , md5 ( n ) from s"

// maxMySQLStatements bounds the statements of a session.
const maxMySQLStatements = 1024

// prepare answers COM_STMT_PREPARE.
func (c *mysqlConn) prepare(query string) {
	words, ok := sqlWords(query, true)
	key, args := shape(words)
	switch {
	case !ok || key != mysqlPrepared || args[1].text != "1":
		c.fail(&mysqlError{1295, "HY000", "The embedded protocol server prepares one statement only, a series from CAST(? AS SIGNED)"})
		return
	case len(c.statements) >= maxMySQLStatements:
		c.fail(&mysqlError{1461, "42000", "Can't create more than max_prepared_stmt_count statements"})
		return
	}
	c.lastStatement++
	if c.statements == nil {
		c.statements = map[uint32]bool{}
	}
	c.statements[c.lastStatement] = true
	b := binary.LittleEndian.AppendUint32([]byte{0}, c.lastStatement)
	c.write(append(b, 2, 0, 2, 0, 0, 0, 0)) // columns, parameters, filler, warnings
	c.columns([]mysqlColumn{{"?", true}, {"?", true}})
	c.columns(mysqlSeriesColumns)
}

var mysqlSeriesColumns = []mysqlColumn{{"n", true}, {"MD5(n)", false}}

// execute answers COM_STMT_EXECUTE with a binary result set; body is what came behind the command.
func (c *mysqlConn) execute(body []byte) {
	r := mysqlReader{b: body}
	id := r.uint32()
	r.take(1 + 4) // no cursor, one iteration
	null, bound := r.byte(), r.byte()
	types := r.take(4)
	from, to := int64(binary.LittleEndian.Uint64(r.take(8))), int64(binary.LittleEndian.Uint64(r.take(8)))
	switch {
	case r.bad || null != 0 || bound != 1 || types[0] != 8 || types[2] != 8:
		c.fail(&mysqlError{1210, "HY000", "The embedded protocol server wants two BIGINT, not null, with their types"})
		return
	case !c.statements[id]:
		c.fail(&mysqlError{1243, "HY000", "Unknown prepared statement handler"})
		return
	case to-from > maxMySQLDepth:
		c.fail(&mysqlError{3636, "HY000", "Recursive query aborted after " + strconv.Itoa(maxMySQLDepth+1) + " iterations"})
		return
	}
	c.write([]byte{byte(len(mysqlSeriesColumns))})
	c.columns(mysqlSeriesColumns)
	for n := from; n == from || n <= to; n++ { // the first row comes whatever the bound
		sum := md5.Sum(strconv.AppendInt(nil, n, 10))
		b := binary.LittleEndian.AppendUint64([]byte{0, 0}, uint64(n)) // a row, nothing is NULL
		c.write(appendLenenc(b, hex.EncodeToString(sum[:])))
	}
	c.eof()
}

// forget takes COM_STMT_CLOSE, which has no answer.
func (c *mysqlConn) forget(body []byte) {
	r := mysqlReader{b: body}
	delete(c.statements, r.uint32())
}
