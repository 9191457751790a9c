package targets_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

var update = flag.Bool("update", false, "rewrite the parts of docs/your-implementation.md that are made from other files")

const page = "../../docs/your-implementation.md"

// TestThePageShowsTheAdapterItself: what a reader copies is what these tests drive, and the table is that of the checks.
func TestThePageShowsTheAdapterItself(t *testing.T) {
	have := string(must(os.ReadFile(page))(t))
	adapter := string(must(os.ReadFile("nginx-lb.sh"))(t))
	want := replaced(t, have, "(?s)(<!-- conformance/targets/nginx-lb.sh -->\n```sh\n).*?(```\n)", adapter)
	want = replaced(t, want, `(?s)(\| route \| SNI [^\n]*\n[^\n]*\n).*?(\n)`+"The order of the rows", fixtureTable())
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not what nginx-lb.sh and the fixture make of it: go test ./conformance/targets -run Page -update", page)
	}
	check(t, os.WriteFile(page, []byte(want), 0o644)) //nolint:gosec // a page of the documentation
}

// replaced puts text between the two groups of an expression, which has to be found.
func replaced(t *testing.T, in, expression, text string) string {
	t.Helper()
	at := regexp.MustCompile(expression).FindStringSubmatchIndex(in)
	if at == nil {
		t.Fatalf("%s has no place for what %s describes", page, expression)
	}
	return in[:at[3]] + text + in[at[4]:]
}

func fixtureTable() string {
	var b strings.Builder
	for _, r := range conformance.FixtureRoutes(conformance.Fixture{Domain: "DOMAIN"}) {
		auth := "no"
		if r.ClientAuth == "require" {
			auth = "required, of authority " + r.CA
		}
		to := map[string]string{conformance.WitnessA: "A", conformance.WitnessB: "B", conformance.WitnessDead: "a port on which nothing listens"}[r.Witness]
		if r.Mode == conformance.ModePassthrough {
			to += ", which ends TLS"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Name, listed(r.SNI), listed(r.ALPN), r.Mode, auth, to)
	}
	return b.String()
}

func listed(names []string) string {
	if len(names) == 0 {
		return "any"
	}
	return "`" + strings.Join(names, "`, `") + "`"
}
