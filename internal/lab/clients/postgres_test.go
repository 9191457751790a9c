package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// shop is the schema that is dumped. It has what a dump can get wrong: every byte, characters of several bytes, NULL, quotes, a value of 800,000 bytes.
const shop = `
create schema shop;
create table shop.items(n int primary key, name text not null, raw bytea, at timestamptz, tags text[], extra jsonb);
insert into shop.items select g, 'it''s number ' || g || e' \\ "grün" \t 数', decode(md5(g::text) || '00ff0a0d5c27', 'hex'),
  timestamptz '2026-11-26 12:00:00+00' + g * interval '1 minute', array['a' || g, null, '{,}'], jsonb_build_object('n', g, 'deep', '[1, null]'::jsonb)
  from generate_series(1, 3000) g;
insert into shop.items(n, name) values (0, repeat('0123456789äöü', 50000));
create table shop.more as select g, repeat('x', g % 50) from generate_series(1, 1000) g;
create view shop.named as select n, name from shop.items where n between 1 and 5;
create sequence shop.counter start 42;
comment on table shop.items is 'A comment; with -- and /* in it';
create function shop.twice(n int) returns int language sql as $$ select 2 * n $$;
`

// pgEnv is what a program of PostgreSQL needs to reach the server, and nothing else: how it does TLS is its own default.
func (s *session) pgEnv() []string {
	b := s.lab.backend("postgres")
	return []string{
		"PGHOST=127.0.0.1", "PGPORT=" + s.port("db", "postgres", "postgres"), "PGUSER=" + b.User, "PGPASSWORD=" + b.Password, "PGDATABASE=" + b.Database,
		"PGTZ=UTC", "PGCONNECT_TIMEOUT=60",
	}
}

func loadPostgres(t *testing.T, l *lab) {
	t.Helper()
	s := newSession(t, l, "")
	s.run(step{name: "load", argv: []string{"psql", "-Xq", "-v", "ON_ERROR_STOP=1"}, env: s.pgEnv(), stdin: shop})
}

func psqlSteps(s *session) {
	env, own := s.pgEnv(), s.unique()
	s.masks = append(s.masks, own, "UNIQUE")
	psql := func(args ...string) []string { return append([]string{"psql", "-X"}, args...) }
	s.run(step{name: "a query", argv: psql("-Atc", "select 40 + 2"), env: env, prints: `^42\n$`})
	s.run(step{name: "without TLS", argv: psql("-Atc", "select 40 + 2"), env: append(env, "PGSSLMODE=disable"), prints: `^42\n$`})
	s.run(step{name: "a table for people", argv: psql("-c", `\d+ shop.items`, "-c", `\x`, "-c", "table shop.named"), env: env, prints: `not null`})
	s.run(step{name: "everything", argv: psql("-c", "copy (select * from shop.items order by n) to stdout"), env: env, prints: `grün`})

	var rows strings.Builder
	for n := range 5000 {
		rows.WriteString(strconv.Itoa(n) + "\ttext " + strconv.Itoa(n*n) + " äöü\n")
	}
	s.write("rows", rows.String())
	s.write("load.sql", "create table "+own+"(n int, t text);\n\\copy "+own+" from 'rows'\nselect count(*), md5(string_agg(t, ',' order by n)) from "+own+";\n")
	s.run(step{name: "copy in", argv: psql("-q", "-Atf", "load.sql"), env: env, prints: `^5000\|`})
	s.run(step{
		name: "notify", argv: psql("-c", "listen "+own, "-c", "notify "+own+", 'here'"), env: env, prints: `payload "here" received`,
		figures: regexp.MustCompile(`PID \d+`),
	})

	s.write("fault.sql", "select 1;\nselect nonsense;\nselect 2;\n")
	s.run(step{
		name: "a fault in a script", argv: psql("-v", "ON_ERROR_STOP=1", "-f", "fault.sql"), env: env, status: 3, says: `fault.sql:2: ERROR: .*"nonsense" does not exist`,
	})
	s.run(step{name: "a wrong password", argv: psql("-c", "select 1"), env: append(env, "PGPASSWORD=wrong"), status: 2, says: `password authentication failed`})
	s.run(step{name: "an unknown database", argv: psql("-c", "select 1"), env: append(env, "PGDATABASE=nowhere"), status: 2, says: `"nowhere" does not exist`})
	s.run(step{
		name: "a session that is ended", argv: psql("-c", "select pg_terminate_backend(pg_backend_pid())"), env: env, status: 2,
		says: `terminating connection due to administrator command`,
	})
	s.run(step{name: "started by the proxy", argv: s.with("db", "postgres", psql("-c", "select 1/0")...), env: env, status: 1, says: `^ERROR:  division by zero\n$`})
}

// with has the proxy start a program, and end with its status; straight, the program is started as it is.
func (s *session) with(kind, route string, argv ...string) []string {
	if s.path == "" {
		return argv
	}
	return append([]string{s.lab.program, "proxy", kind, "--ready-from", s.lab.readyFile, "--router", router(s.path), "--route", route, "--"}, argv...)
}

func pgDumpSteps(s *session) {
	env, own := s.pgEnv(), s.unique()
	s.masks = append(s.masks, own, "UNIQUE")
	dump := func(args ...string) []string {
		return append(append([]string{"pg_dump"}, restrictKey(s.t)...), args...)
	}
	text := s.run(step{name: "as text", argv: dump("-n", "shop"), env: env, prints: `PostgreSQL database dump complete`})
	s.run(step{name: "with three connections", argv: []string{"pg_dump", "-n", "shop", "-Fd", "-j3", "-Z0", "-f", "dump"}, env: env})
	s.noteTables("the files of that", "dump")
	s.run(step{name: "an unknown schema", argv: dump("-n", "nowhere"), env: env, status: 1, says: `no matching schemas were found`})
	s.run(step{name: "a wrong password", argv: dump("-n", "shop"), env: append(env, "PGPASSWORD=wrong"), status: 1, says: `password authentication failed`})

	// The way back: what was dumped goes in over the path, and is dumped straight.
	s.run(step{name: "restored", argv: []string{"psql", "-Xq", "-v", "ON_ERROR_STOP=1"}, env: env, stdin: strings.ReplaceAll(text, "shop", own)})
	other := s.straight()
	again := other.run(step{name: "dumped again", argv: dump("-n", own), env: other.pgEnv()})
	want := strings.ReplaceAll(text, "shop", own)
	if again, want := tableVersions.ReplaceAllString(again, ""), tableVersions.ReplaceAllString(want, ""); again != want {
		s.t.Errorf("what was restored is dumped as %s\nwant %s", short(again), short(want))
	}
}

// tableVersions are what a server of 15.20 keeps with each table, and pg_dump of 15.18 takes for an option of its columns.
var tableVersions = regexp.MustCompile(`pg_attver=\d+`)

// noteTables notes what a dump in files has of each table: their names are numbers, which other tables move.
func (s *session) noteTables(name, folder string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, folder, "[0-9]*.dat"))
	if err != nil || len(files) != 2 {
		s.t.Fatalf("%v, %v, want two files", files, err)
	}
	var tables []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		tables = append(tables, short(string(data)))
	}
	slices.Sort(tables)
	s.note(outcome{Step: name, Stdout: strings.Join(tables, "\n")})
}

// restrictKey fixes the key that a dump in text has since CVE-2025-8714 was mended; else it is random.
func restrictKey(t *testing.T) []string {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), "pg_dump", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(help), "--restrict-key") {
		return []string{"--restrict-key=key"}
	}
	return nil
}

// benchFigures are pgbench's measurements, and how far it had come when it said so.
var benchFigures = regexp.MustCompile(`(?m)^(latency|initial connection time|average connection time|tps) .*\n|[0-9.]+ s(econds|\b)|remaining [0-9.]+ s`)

func pgbenchSteps(s *session) {
	// Tables have no schema in pgbench's scripts.
	own := s.unique()
	env := append(s.pgEnv(), "PGOPTIONS=-c search_path=pgbench_"+own)
	s.masks = append(s.masks, own, "UNIQUE")
	bench := func(args ...string) []string { return append([]string{"pgbench", "--random-seed=7"}, args...) }
	s.run(step{name: "a schema", argv: []string{"psql", "-Xqc", "create schema pgbench_" + own}, env: env})
	s.run(step{name: "init", argv: []string{"pgbench", "-i", "-s", "1", "-q"}, env: env, says: `done in`, figures: anything})
	s.run(step{
		name: "select only", argv: bench("-n", "-S", "-c", "4", "-j", "2", "-t", "50"), env: env, figures: benchFigures,
		prints: `(?s)transactions actually processed: 200/200.*failed transactions: 0 `,
	})
	s.run(step{
		name: "TPC-B, prepared", argv: bench("-n", "-M", "prepared", "-c", "4", "-j", "2", "-t", "25"), env: env, figures: benchFigures,
		prints: `(?s)transactions actually processed: 100/100.*failed transactions: 0 `,
	})
	s.run(step{
		name: "a connection for each", argv: bench("-n", "-S", "-C", "-c", "2", "-t", "4"), env: env, figures: benchFigures,
		prints: `transactions actually processed: 8/8`,
	})
	s.write("fault.sql", "select 1/0;\n")
	s.run(step{
		name: "a fault", argv: bench("-n", "-f", "fault.sql", "-t", "1"), env: env, status: 2, figures: benchFigures, says: `division by zero`,
	})
	// The same seed moves the same money, in whatever order the four came.
	s.run(step{name: "what it left", env: env, prints: `\|100\|`, argv: []string{"psql", "-XAtc", `select (select md5(string_agg(a::text, ',' order by aid)) from pgbench_accounts a),
		(select md5(string_agg(b::text, ',' order by bid)) from pgbench_branches b), (select md5(string_agg(t::text, ',' order by tid)) from pgbench_tellers t),
		(select count(*) from pgbench_history), (select md5(string_agg((tid, bid, aid, delta)::text, ',' order by tid, bid, aid, delta)) from pgbench_history)`}})
}
