package clients

import (
	"strconv"
	"strings"
	"testing"
)

// mysqlShop is what shop is to PostgreSQL. MariaDB cuts a recursion short at a thousand rows.
const mysqlShop = `
create table shop(n int primary key, name text character set utf8mb4 not null, raw blob, at datetime, big longtext) character set utf8mb4;
insert into shop(n, name, raw, at) with recursive s(n) as (select 0 union all select n + 1 from s where n < 49)
  select 100 * a.n + b.n + 1, concat('it''s number ', a.n, ' \\ "grün" \t 数'), unhex(concat(md5(100 * a.n + b.n), '00ff0a0d1a5c27')), '2026-11-26 12:00:00' + interval b.n minute
  from s a, s b;
insert into shop(n, name, big) values (0, 'big', repeat('0123456789äöü', 50000));
`

// mysqlArgs are a program of MariaDB's to reach the server, behind its name. As for PostgreSQL, how it does TLS is its own default.
func (s *session) mysqlArgs(program string, args ...string) []string {
	return append([]string{
		program, "--no-defaults", "--host=127.0.0.1", "--port=" + s.port("db", "mysql", "mysql"), "--user=" + s.lab.backend("mysql").User,
		"--default-character-set=utf8mb4",
	}, args...)
}

func (s *session) mysqlEnv() []string {
	return []string{"MYSQL_PWD=" + s.lab.backend("mysql").Password}
}

func loadMySQL(t *testing.T, l *lab) {
	t.Helper()
	s := newSession(t, l, "")
	s.run(step{name: "load", argv: s.mysqlArgs("mysql", l.backend("mysql").Database), env: s.mysqlEnv(), stdin: mysqlShop})
}

func mysqlSteps(s *session) {
	env, own, database := s.mysqlEnv(), s.unique(), s.lab.backend("mysql").Database
	s.masks = append(s.masks, own, "UNIQUE")
	mysql := func(args ...string) []string { return s.mysqlArgs("mysql", append(args, database)...) }
	s.run(step{name: "a query", argv: mysql("-Ne", "select 40 + 2, user()"), env: env, prints: `^42\t`})
	s.run(step{name: "a table for people", argv: mysql("-te", "describe shop; select n, name, hex(raw) from shop where n between 1 and 5 order by n"), env: env, prints: `longtext`})
	s.run(step{name: "everything", argv: mysql("--raw", "-Ne", "select * from shop order by n"), env: env, prints: `grün`})
	s.run(step{name: "compressed", argv: mysql("--compress", "-Ne", "select * from shop order by n"), env: env, prints: `grün`})

	var rows strings.Builder
	for n := range 5000 {
		rows.WriteString(strconv.Itoa(n) + "\ttext " + strconv.Itoa(n*n) + " äöü\n")
	}
	s.write("rows", rows.String())
	s.run(step{
		name: "a file of the client's", env: env, prints: `^5000\t5000\t`, argv: mysql("--local-infile=1", "-Ne",
			"create table "+own+"(n int, t varchar(99) character set utf8mb4); load data local infile 'rows' into table "+own+" character set utf8mb4; "+
				"select count(*), count(distinct t), sum(crc32(t)) from "+own),
	})

	s.run(step{name: "a fault", argv: mysql("-e", "select 1; select nonsense; select 2"), env: env, status: 1, says: `ERROR 1054 \(42S22\) at line 1`})
	s.run(step{name: "a wrong password", argv: mysql("-e", "select 1"), env: []string{"MYSQL_PWD=wrong"}, status: 1, says: `ERROR 1045 \(28000\): Access denied`})
	s.run(step{name: "an unknown database", argv: s.mysqlArgs("mysql", "-e", "select 1", "nowhere"), env: env, status: 1, says: `ERROR (1044|1049) \(42000\): .*nowhere`})
	s.run(step{name: "a session that is ended", argv: mysql("-e", "kill connection_id()"), env: env, status: 1, says: `ERROR (1927|1317|2013) `})
	argv := []string{"mysql", "--no-defaults", "--user=" + s.lab.backend("mysql").User, "-e", "select nonsense", database}
	if s.path == "" {
		argv = mysql("-e", "select nonsense")
	}
	s.run(step{name: "started by the proxy", argv: s.with("db", "mysql", argv...), env: env, status: 1, says: `ERROR 1054 `})
}

func mysqldumpSteps(s *session) {
	env, own, database := s.mysqlEnv(), s.unique(), s.lab.backend("mysql").Database
	s.masks = append(s.masks, own, "UNIQUE")
	dump := func(args ...string) []string {
		return s.mysqlArgs("mysqldump", append([]string{"--skip-dump-date", "--single-transaction", "--no-tablespaces"}, args...)...)
	}
	text := s.run(step{name: "as it is", argv: dump(database, "shop"), env: env, prints: `-- Dump completed`})
	s.run(step{name: "in XML", argv: dump("--xml", "--no-create-info", database, "shop"), env: env, prints: `</mysqldump>`})
	s.run(step{name: "an unknown table", argv: dump(database, "nowhere"), env: env, status: 6, says: `Couldn't find table: "nowhere"`})
	s.run(step{name: "a wrong password", argv: dump(database, "shop"), env: []string{"MYSQL_PWD=wrong"}, status: 2, says: `1045.*Access denied`})

	// The way back, as for pg_dump. mysqldump's own lines of text have the table's name too.
	copied := "dump_" + own
	s.run(step{name: "restored", argv: s.mysqlArgs("mysql", "--binary-mode", database), env: env, stdin: strings.ReplaceAll(text, "shop", copied)})
	other := s.straight()
	again := other.run(step{name: "dumped again", argv: other.mysqlArgs("mysqldump", "--skip-dump-date", "--single-transaction", "--no-tablespaces", database, copied), env: env})
	if want := strings.ReplaceAll(text, "shop", copied); again != want {
		s.t.Errorf("what was restored is dumped as %s\nwant %s", short(again), short(want))
	}
}
