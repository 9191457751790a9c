package backend

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestStatementsAreCutIntoWords(t *testing.T) {
	for _, c := range []struct {
		query     string
		backslash bool
		want      string // "" when refused
		args      []string
	}{
		{"SELECT 1", false, "select N", []string{"1"}},
		{"select\n\t1 -- one", false, "select N", []string{"1"}},
		{"SELECT /* a 'comment */ $12::text", false, "select P :: text", []string{"12"}},
		{"SELECT 'it''s' ::text", false, "select S :: text", []string{"it's"}},
		{`SELECT 'a\'`, false, "select S", []string{`a\`}},
		{`SELECT 'a\'b\n'`, true, "select S", []string{"a'b\n"}},
		{"SELECT  (-1) ::int", false, "select N :: int", []string{"-1"}},
		{"f( (-3) ::int, 4 ::int)", false, "f ( N :: int , N :: int )", []string{"-3", "4"}},
		{"f(-3)", false, "f ( N )", []string{"-3"}},
		{"n-1", false, "n - N", []string{"1"}},
		{"SELECT @@version", true, "select @@ version", nil},
		{"SELECT 'open", false, "", nil},
		{"SELECT /* open", false, "", nil},
	} {
		words, ok := sqlWords(c.query, c.backslash)
		if ok != (c.want != "") {
			t.Errorf("%s: accepted %v", c.query, ok)
			continue
		}
		got, args := shape(words)
		var texts []string
		for _, a := range args {
			texts = append(texts, a.text)
		}
		if ok && (got != c.want || cmp.Diff(c.args, texts) != "") {
			t.Errorf("%s: %q %q, want %q %q", c.query, got, texts, c.want, c.args)
		}
	}
}

func FuzzStatements(f *testing.F) {
	for _, seed := range []string{"SELECT 1", "SELECT $1::text", "SELECT g, md5(g::text) FROM generate_series((-1)::int, $2::int) AS g", mysqlSeriesSQL, "'", "/*", `"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		statements, err := parsePG(query)
		for _, st := range statements {
			if err == nil && st.kind == pgSeries && len(st.args) != 2 {
				t.Errorf("%q: %d arguments", query, len(st.args))
			}
		}
		if words, ok := sqlWords(query, true); ok {
			for _, w := range words {
				if w.at < 0 || w.at >= len(query) {
					t.Errorf("%q: word at %d", query, w.at)
				}
			}
		}
	})
}

// TestPostgresSuspendsAndSkips speaks the protocol by hand, to the embedded and to the real server: a row limit suspends a
// portal, and after an error everything is skipped until Sync.
func TestPostgresSuspendsAndSkips(t *testing.T) {
	for _, driver := range Drivers(Postgres) {
		t.Run(driver, func(t *testing.T) {
			r := start(t, driver, Postgres)
			conn, err := pgx.Connect(t.Context(), postgresURL(r))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(t.Context()) }()
			fe := conn.PgConn().Frontend()
			fe.Send(&pgproto3.Parse{Query: "SELECT g, md5(g::text) FROM generate_series($1::int, $2::int) AS g"})
			fe.Send(&pgproto3.Describe{ObjectType: 'S'})
			fe.Send(&pgproto3.Bind{Parameters: [][]byte{[]byte("1"), []byte("3")}, ResultFormatCodes: []int16{0}})
			fe.Send(&pgproto3.Describe{ObjectType: 'P'})
			fe.Send(&pgproto3.Execute{MaxRows: 2})
			fe.Send(&pgproto3.Execute{MaxRows: 2})
			fe.Send(&pgproto3.Bind{PreparedStatement: "unknown"})
			fe.Send(&pgproto3.Execute{})
			fe.Send(&pgproto3.Sync{})
			fe.Send(&pgproto3.Parse{Query: ""})
			fe.Send(&pgproto3.Bind{Parameters: nil})
			fe.Send(&pgproto3.Describe{ObjectType: 'P'})
			fe.Send(&pgproto3.Execute{})
			fe.Send(&pgproto3.Sync{})
			if err := fe.Flush(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for syncs := 0; syncs < 2; {
				msg, err := fe.Receive()
				if err != nil {
					t.Fatalf("after %v: %v", got, err)
				}
				switch m := msg.(type) {
				case *pgproto3.ParameterDescription:
					got = append(got, fmt.Sprint("parameters ", m.ParameterOIDs))
				case *pgproto3.RowDescription:
					line := "row"
					for _, f := range m.Fields {
						line += " " + string(f.Name)
					}
					got = append(got, line)
				case *pgproto3.DataRow:
					got = append(got, string(m.Values[0]))
				case *pgproto3.CommandComplete:
					got = append(got, string(m.CommandTag))
				case *pgproto3.ErrorResponse:
					got = append(got, m.Code)
				case *pgproto3.ReadyForQuery:
					syncs++
					got = append(got, "ready")
				case *pgproto3.PortalSuspended:
					got = append(got, "suspended")
				case *pgproto3.EmptyQueryResponse:
					got = append(got, "empty")
				case *pgproto3.NoData:
					got = append(got, "no data")
				case *pgproto3.ParseComplete, *pgproto3.BindComplete:
				default:
					t.Fatalf("%T", msg)
				}
			}
			want := []string{"parameters [23 23]", "row g md5", "row g md5", "1", "2", "suspended", "3", "SELECT 1", "26000", "ready", "no data", "empty", "ready"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEmbeddedServersSurviveRubbish sends what is no protocol at all; the server must end the connection and go on.
func TestEmbeddedServersSurviveRubbish(t *testing.T) {
	for _, kind := range []string{Postgres, MySQL, SSH, Witness} {
		r := start(t, Embedded, kind)
		for _, rubbish := range []string{"", "\x00", "\x16\x03\x01\x00\x05hello", "PROXY nonsense\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2e\x00\x00\x00\x08\x04\xd2\x16\x2f", strings.Repeat("\xff", 4096), "SSH-2.0-x\r\n\xff\xff\xff\xff"} {
			c, err := net.Dial("tcp", r.Address)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetDeadline(time.Now().Add(askTimeout)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, rubbish)
			_ = c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); isTimeout(err) {
				t.Errorf("%s holds on to a connection that sent %.20q", kind, rubbish)
			}
			c.Close()
		}
	}
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
