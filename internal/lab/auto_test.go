package lab

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/process"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// TestAutoTakesTheMostRealDriverThatWorksAndSaysWhy has fakes in the place of engine and servers.
func TestAutoTakesTheMostRealDriverThatWorksAndSaysWhy(t *testing.T) {
	all := []string{backend.Container, backend.Embedded, backend.Local}
	for _, test := range []struct {
		name    string
		b       scenario.Backend
		drivers []string
		lacks   map[string]string // by driver
		driver  string
		why     string // without its beginning; of an error, what it says
	}{
		{"everything", scenario.Backend{Kind: "mysql"}, all, nil, "container", "container works here"},
		{"no engine", scenario.Backend{Kind: "mysql"}, all, map[string]string{"container": "no engine"}, "local", "no container (no engine); local works here"},
		{
			"nothing installed",
			scenario.Backend{Kind: "mysql"},
			all,
			map[string]string{"container": "no engine", "local": "no mariadbd"},
			"embedded",
			"no container (no engine); no local (no mariadbd); embedded works here",
		},
		{"no container driver", scenario.Backend{Kind: "mysql"}, all[1:], nil, "local", "local works here"},
		{"a kind of our own", scenario.Backend{Kind: "http"}, []string{"embedded"}, nil, "embedded", "embedded is the one driver of kind http"},
		{
			"a witness that could be a container",
			scenario.Backend{Kind: "witness"},
			all[:2], nil, "embedded",
			"no container (what this very program serves is as real in this process); embedded works here",
		},
		{
			"a version",
			scenario.Backend{Kind: "mysql", Version: "10.11"},
			all, nil, "local",
			"no container (version 10.11 is asked of the servers of this machine: for a container say image); local works here",
		},
		{"a version and an image", scenario.Backend{Kind: "mysql", Version: "10.11", Image: "mariadb:10.11"}, all, nil, "container", "container works here"},
		{
			"nothing at all",
			scenario.Backend{Name: "db", Kind: "mysql"},
			all,
			map[string]string{"container": "a", "local": "b", "embedded": "c"},
			"",
			"backend db: auto finds no driver of kind mysql: no container (a); no local (b); no embedded (c)",
		},
	} {
		driver, why, err := mostReal(t.Context(), test.b, test.drivers, func(_ context.Context, driver string) error {
			if !slices.Contains(test.drivers, driver) {
				t.Errorf("%s: driver %s was looked for, which the kind does not have", test.name, driver)
			}
			if lack := test.lacks[driver]; lack != "" {
				return errors.New(lack)
			}
			return nil
		})
		want := "chosen by auto: " + test.why
		if test.driver == "" {
			want = ""
			if err == nil || err.Error() != test.why {
				t.Errorf("%s: %v, want %s", test.name, err, test.why)
			}
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if driver != test.driver || why != want {
			t.Errorf("%s: %q, %q; want %q, %q", test.name, driver, why, test.driver, want)
		}
	}
}

// TestAutoDoesNotWaitForAnEngineThatIsSilent runs in fake time.
func TestAutoDoesNotWaitForAnEngineThatIsSilent(t *testing.T) {
	asked := 0
	look := silent{}.remember(func(ctx context.Context, driver string) error {
		if driver == backend.Container {
			asked++
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	b, drivers := scenario.Backend{Kind: "mysql"}, []string{backend.Container, backend.Embedded, backend.Local}
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted)
	if driver, _, err := mostReal(ctx, b, drivers, look); !errors.Is(err, interrupted) {
		t.Errorf("interrupted: %q, %v", driver, err)
	}
	asked = 0
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			driver, why, err := mostReal(t.Context(), b, drivers, look)
			if err != nil || driver != backend.Local || why != "chosen by auto: no container (no answer in 9s: context deadline exceeded); local works here" {
				t.Errorf("%q, %q, %v", driver, why, err)
			}
		}
	})
	if asked != 1 {
		t.Errorf("it was waited for %d times", asked)
	}
}

// TestAutoWithoutServersIsEmbeddedAndTheReportSaysSo looks where nothing is installed.
func TestAutoWithoutServersIsEmbeddedAndTheReportSaysSo(t *testing.T) {
	t.Setenv(process.SearchVariable, t.TempDir())
	l := startText(t, `
name: auto
topology: {paths: [direct]}
backends: [{name: db, kind: mysql, version: "10.11"}, {name: web, kind: http}, {name: echo, kind: witness}]
routes: [{name: db, sni: [db.example.test], mode: terminate, backend: db}]
`, Options{Backends: auto, Only: OnlyBackends})
	for _, b := range l.Backends() {
		if b.Driver != backend.Embedded || !strings.Contains(b.Note, "protocol server: ") || strings.Contains(b.Note, "container works here") {
			t.Errorf("%+v", b)
		}
		if b.Kind == backend.MySQL && !strings.Contains(b.Note, "for a container say image); no local (mariadbd not found: install the Debian package mariadb-server, or use --backends embedded); embedded works here. protocol server: ") {
			t.Errorf("the note does not say what is missing: %s", b.Note)
		}
		if b.Kind == backend.HTTP && !strings.HasPrefix(b.Note, "chosen by auto: no container (what this very program serves is as real in this process); embedded works here. protocol server: ") {
			t.Errorf("the note says %s", b.Note)
		}
	}
}
