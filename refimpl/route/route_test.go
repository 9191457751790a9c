package route

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rules of the table tests, by index.
var testRules = []Rule{
	0:  {Name: "postgres", SNI: []string{"pg.example.test"}, ALPN: []string{"teleport-postgres", "teleport-postgres-ping"}},
	1:  {Name: "mysql", SNI: []string{"PG.example.test."}, ALPN: []string{"teleport-mysql"}},
	2:  {Name: "web", SNI: []string{"web.example.test"}, ALPN: []string{"h2", "http/1.1"}},
	3:  {Name: "raw", SNI: []string{"raw.example.test"}},
	4:  {Name: "wild", SNI: []string{"*.example.test"}, ALPN: []string{"wild"}},
	5:  {Name: "wilder", SNI: []string{"*.a.example.test"}, ALPN: []string{"wild", "deep"}},
	6:  {Name: "ssh", ALPN: []string{"teleport-proxy-ssh"}},
	7:  {Name: "mixed", SNI: []string{"mixed.test"}, ALPN: []string{"special"}},
	8:  {Name: "rest", SNI: []string{"mixed.test"}},
	9:  {Name: "kube", SNI: []string{"kube-teleport-proxy-alpn.*"}, ALPN: []string{"h2", "http/1.1"}},
	10: {Name: "kube of a", SNI: []string{"kube-teleport-proxy-alpn.a.*"}, ALPN: []string{"h2"}},
	11: {Name: "auth", ALPN: []string{"teleport-auth@*", "teleport-mysql-*"}},
	12: {Name: "auth of eu", ALPN: []string{"teleport-auth@eu-*", "teleport-auth@eu-1"}, SNI: []string{"auth.test"}},
	13: {Name: "auth of auth.test", ALPN: []string{"teleport-auth@*", "tlsroute-*", "http/*"}, SNI: []string{"auth.test"}},
}

var testOwn = []string{"proxy.test", "*.cert.test", "web.example.test", "Router.test."}

func list(names ...string) []string { return names }

func TestMatchFollowsTheTable(t *testing.T) {
	table, err := NewTable(testRules, testOwn)
	if err != nil {
		t.Fatal(err)
	}
	none := func(k Kind, alpn string) Decision { return Decision{Index: -1, Kind: k, ALPN: alpn} }
	to := func(i int, alpn string) Decision { return Decision{Index: i, ALPN: alpn} }
	for _, c := range []struct {
		name, sni string
		alpn      []string
		want      Decision
	}{
		// row 1
		{"name and ALPN", "pg.example.test", list("teleport-postgres"), to(0, "teleport-postgres")},
		{"second ALPN name of the route", "pg.example.test", list("teleport-postgres-ping"), to(0, "teleport-postgres-ping")},
		{"same name, ALPN of another route", "pg.example.test", list("teleport-mysql"), to(1, "teleport-mysql")},
		{"client's order decides between routes", "pg.example.test", list("teleport-mysql", "teleport-postgres"), to(1, "teleport-mysql")},
		{"client's order decides within a route", "web.example.test", list("http/1.1", "h2"), to(2, "http/1.1")},
		{"unknown names are passed over", "pg.example.test", list("x", "teleport-postgres"), to(0, "teleport-postgres")},
		{"names without case", "pG.Example.TEST", list("teleport-postgres"), to(0, "teleport-postgres")},
		{"names with a trailing dot", "pg.example.test.", list("teleport-postgres"), to(0, "teleport-postgres")},
		{"ALPN with case", "pg.example.test", list("Teleport-Postgres"), none(NoALPN, "")},
		{"no ALPN counts as http/1.1, nothing is confirmed", "web.example.test", nil, to(2, "")},
		{"route without alpn takes a list and confirms the first", "raw.example.test", list("x", "y"), to(3, "x")},
		{"route without alpn takes none", "raw.example.test", nil, to(3, "")},
		{"GREASE is never confirmed", "raw.example.test", list("\x1a\x1a", "x"), to(3, "x")},
		{"nothing but GREASE", "raw.example.test", list("\xfa\xfa"), to(3, "")},
		{"GREASE before the name", "pg.example.test", list("\x0a\x0a", "teleport-postgres"), to(0, "teleport-postgres")},
		{"wildcard, one label", "x.example.test", list("wild"), to(4, "wild")},
		{"wildcard, more labels", "x.y.example.test", list("wild"), to(4, "wild")},
		{"wildcard does not take its own tail", "example.test", list("wild"), none(NoName, "")},
		{"longest wildcard first", "x.a.example.test", list("wild"), to(5, "wild")},
		{"the wildcard's tail falls to the shorter wildcard", "a.example.test", list("wild"), to(4, "wild")},
		{"the name is more than the ALPN order", "x.a.example.test", list("deep", "wild"), to(5, "deep")},
		{"a wildcard takes what the exact name does not", "pg.example.test", list("wild"), to(4, "wild")},
		{"a listed ALPN goes before a route without alpn", "mixed.test", list("other", "special"), to(7, "special")},
		{"and the route without alpn takes the rest", "mixed.test", list("other"), to(8, "other")},
		{"a suffix is not a wildcard", "xpg.example.test.evil", list("wild"), none(NoName, "")},
		{"a wildcard sent as a name", "*.example.test", list("wild"), none(NoName, "")},
		{"prefix, one label", "kube-teleport-proxy-alpn.x", list("http/1.1"), to(9, "http/1.1")},
		{"prefix, more labels", "Kube-Teleport-Proxy-ALPN.x.test.", list("http/1.1", "h2"), to(9, "http/1.1")},
		{"prefix without ALPN", "kube-teleport-proxy-alpn.x.test", nil, to(9, "")},
		{"a prefix does not take its own head", "kube-teleport-proxy-alpn", list("h2"), none(NoName, "")},
		{"nor half a label", "kube-teleport-proxy-alpnx.test", list("h2"), none(NoName, "")},
		{"nor an empty label", "kube-teleport-proxy-alpn..", list("h2"), none(NoName, "")},
		{"longest prefix first", "kube-teleport-proxy-alpn.a.test", list("h2"), to(10, "h2")},
		{"a prefix takes what the longer one does not", "kube-teleport-proxy-alpn.a.test", list("http/1.1"), to(9, "http/1.1")},
		{"the longer prefix's head falls to the shorter prefix", "kube-teleport-proxy-alpn.a", list("h2"), to(9, "h2")},
		{"a prefix goes before a longer wildcard", "kube-teleport-proxy-alpn.long-name-of-a-cluster.example.test", list("wild", "h2"), to(9, "h2")},
		{"a wildcard takes what the prefix does not", "kube-teleport-proxy-alpn.example.test", list("wild"), to(4, "wild")},
		{"a name that begins with a dot is nobody's", ".example.test", list("wild"), none(NoName, "")},
		{"ALPN prefix, longest first", "auth.test", list("teleport-auth@eu-2"), to(12, "teleport-auth@eu-2")},
		{"ALPN prefix, a shorter one", "auth.test", list("teleport-auth@us"), to(13, "teleport-auth@us")},
		{"ALPN listed exactly", "auth.test", list("teleport-auth@eu-1"), to(12, "teleport-auth@eu-1")},
		{"the client's order goes before the longest prefix", "auth.test", list("teleport-auth@us", "teleport-auth@eu-1"), to(13, "teleport-auth@us")},
		{"an ALPN prefix takes no ALPN as http/1.1 and confirms nothing", "auth.test", nil, to(13, "")},
		// row 2
		{"ALPN prefix, any name", "nobody.test", list("teleport-auth@any.cluster.name"), to(11, "teleport-auth@any.cluster.name")},
		{"ALPN prefix, the server version of MySQL", "", list("teleport-mysql-OC4wLjMy", "teleport-mysql"), to(11, "teleport-mysql-OC4wLjMy")},
		{"an ALPN prefix does not take itself", "", list("teleport-auth@"), none(NoALPN, "")},
		{"an ALPN prefix with a star is no name", "", list("teleport-auth*"), none(NoALPN, "")},
		{"any name", "nobody.test", list("teleport-proxy-ssh"), to(6, "teleport-proxy-ssh")},
		{"no name", "", list("teleport-proxy-ssh"), to(6, "teleport-proxy-ssh")},
		{"a route's name", "pg.example.test", list("teleport-proxy-ssh"), to(6, "teleport-proxy-ssh")},
		{"own name", "proxy.test", list("teleport-proxy-ssh", "http/1.1"), to(6, "teleport-proxy-ssh")},
		{"row 1 goes before row 2", "pg.example.test", list("teleport-proxy-ssh", "teleport-postgres"), to(0, "teleport-postgres")},
		// row 3
		{"a route's name, foreign ALPN", "pg.example.test", list("h2", "http/1.1"), none(NoALPN, "")},
		{"a route's name, no ALPN", "pg.example.test", nil, none(NoALPN, "")},
		{"a wildcard's name", "x.example.test", list("http/1.1"), none(NoALPN, "")},
		{"a certificate's name that a route claims", "web.example.test", list("x"), none(NoALPN, "")},
		// row 4
		{"no name, no ALPN", "", nil, none(OwnEndpoint, "")},
		{"no name, http/1.1", "", list("http/1.1"), none(OwnEndpoint, "http/1.1")},
		{"no name, both", "", list("h2", "http/1.1"), none(OwnEndpoint, "http/1.1")},
		{"no name, h2 alone", "", list("h2"), none(OwnEndpoint, "h2")},
		{"own name, h2 behind others", "proxy.test", list("x", "h2"), none(OwnEndpoint, "h2")},
		{"own name, http/1.1 behind others", "proxy.test", list("x", "http/1.1"), none(OwnEndpoint, "http/1.1")},
		{"own name without case", "ROUTER.test", nil, none(OwnEndpoint, "")},
		{"own wildcard", "x.cert.test", list("http/1.1"), none(OwnEndpoint, "http/1.1")},
		{"own wildcard stands for one label", "x.y.cert.test", list("http/1.1"), none(NoName, "")},
		{"own name, foreign ALPN", "proxy.test", list("x"), none(NoALPN, "")},
		{"no name, foreign ALPN", "", list("x"), none(NoALPN, "")},
		// row 5
		{"unknown name", "nobody.test", nil, none(NoName, "")},
		{"unknown name, http/1.1", "nobody.test", list("http/1.1"), none(NoName, "")},
		{"unknown name, foreign ALPN", "nobody.test", list("x"), none(NoName, "")},
		{"a name too long", strings.Repeat("a.", 30000) + "example.test", list("wild"), none(NoName, "")},
		// the probe
		{"probe, no name", "", list(ProbeALPN), none(Probe, ProbeALPN)},
		{"probe, a route's name", "pg.example.test", list(ProbeALPN), none(Probe, ProbeALPN)},
		{"probe, unknown name", "nobody.test", list(ProbeALPN), none(Probe, ProbeALPN)},
		{"probe, own name", "proxy.test", list(ProbeALPN), none(Probe, ProbeALPN)},
		{"probe, name of a route without alpn", "raw.example.test", list(ProbeALPN), none(Probe, ProbeALPN)},
		{"probe, name of a route with a prefix of it", "auth.test", list(ProbeALPN), none(Probe, ProbeALPN)},
		{"probe in company of a route's ALPN", "pg.example.test", list(ProbeALPN, "teleport-postgres"), to(0, "teleport-postgres")},
		{"probe in company of a foreign ALPN", "pg.example.test", list("x", ProbeALPN), none(Probe, ProbeALPN)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := table.Match(c.sni, c.alpn)
			if got.Why == "" {
				t.Error("the decision does not explain itself")
			}
			why := got.Why
			got.Why = ""
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s\n-want +got:\n%s", why, d)
			}
		})
	}
}

func TestMatchGivesTheProbeToARouteThatListsIt(t *testing.T) {
	table, err := NewTable([]Rule{{Name: "p", SNI: list("a.test"), ALPN: list(ProbeALPN)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := table.Match("a.test", list(ProbeALPN)); d.Kind != RouteKind || d.Index != 0 {
		t.Errorf("got %+v, want the route", d)
	}
}

func TestARouteWithoutSNIAndALPNTakesAll(t *testing.T) {
	table, err := NewTable([]Rule{{Name: "all"}}, list("proxy.test"))
	if err != nil {
		t.Fatal(err)
	}
	for _, sni := range list("", "proxy.test", "nobody.test") {
		if d := table.Match(sni, list("http/1.1")); d.Kind != RouteKind || d.ALPN != "http/1.1" {
			t.Errorf("%q: got %+v, want the route", sni, d)
		}
	}
}

func TestAlertOfARefusal(t *testing.T) {
	want := map[Kind]uint8{RouteKind: 0, OwnEndpoint: 0, Probe: 0, NoALPN: 120, NoName: 112}
	for k, alert := range want {
		if got := (Decision{Kind: k}).Alert(); got != alert {
			t.Errorf("%v: got %d, want %d", k, got, alert)
		}
	}
}

func TestNewTableNamesEveryFault(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []Rule
		want  []string
	}{
		{
			"same pair",
			[]Rule{{Name: "a", SNI: list("x.test"), ALPN: list("p")}, {Name: "b", SNI: list("y.test", "X.test."), ALPN: list("q", "p")}},
			list(`routes[1].sni[1]: routes "a" and "b" both take x.test with ALPN "p"`),
		},
		{
			"same name, both without alpn",
			[]Rule{{Name: "a", SNI: list("x.test")}, {Name: "b", SNI: list("x.test")}},
			list(`routes[1].sni[0]: routes "a" and "b" both take x.test with any ALPN`),
		},
		{
			"same ALPN, both without sni",
			[]Rule{{Name: "a", ALPN: list("p")}, {Name: "b", ALPN: list("p")}},
			list(`routes[1].sni: routes "a" and "b" both take any name with ALPN "p"`),
		},
		{
			"twice in one route",
			[]Rule{{Name: "a", SNI: list("x.test", "X.test")}},
			list(`routes[0].sni[1]: route "a" takes x.test with any ALPN twice`),
		},
		{
			"same prefixes",
			[]Rule{{Name: "a", SNI: list("k.*"), ALPN: list("p*")}, {Name: "b", SNI: list("K.*"), ALPN: list("p", "p*")}},
			list(`routes[1].sni[0]: routes "a" and "b" both take k.* with ALPN "p*"`),
		},
		{
			"names",
			[]Rule{{}, {Name: "a", SNI: list("y.test")}, {Name: "a", SNI: list("z.test")}},
			list(`routes[0].name: a route needs a name`, `routes[2].name: "a" is already the name of routes[1]`),
		},
		{"malformed", []Rule{{
			Name: "a", SNI: list("", "*", "a.*.test", "a..test", "bücher.test", "*.ok.test", strings.Repeat("l", 64)+".test", ".*", "*.a.*"),
			ALPN: list("", "\x2a\x2a", "*"),
		}}, list(
			`routes[0].alpn[0]: an ALPN name has 1 to 255 bytes, this one has 0`,
			`routes[0].alpn[1]: "**" is reserved for GREASE (RFC 8701) and never selected`,
			`routes[0].alpn[2]: "*": leave alpn out to match any list and none`,
			`routes[0].sni[0]: "": empty; leave sni out to match any name and none`,
			`routes[0].sni[1]: "*": leave sni out to match any name and none`,
			`routes[0].sni[2]: "a.*.test": a wildcard is one leading "*.", a prefix one trailing ".*"`,
			`routes[0].sni[3]: "a..test": empty label`,
			`routes[0].sni[4]: "bücher.test": 'ü' cannot be in a host name; write international names in their xn-- form`,
			`routes[0].sni[6]: "`+strings.Repeat("l", 64)+`.test": label longer than 63 bytes`,
			`routes[0].sni[7]: ".*": empty label`,
			`routes[0].sni[8]: "*.a.*": a wildcard is one leading "*.", a prefix one trailing ".*"`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := NewTable(c.rules, nil)
			if err == nil || table != nil {
				t.Fatalf("table %v, error %v: want an error alone", table, err)
			}
			if d := cmp.Diff(c.want, strings.Split(err.Error(), "\n")); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if _, ok := errors.AsType[*RuleError](err); !ok {
				t.Errorf("%T holds no *RuleError", err)
			}
		})
	}
}

func TestOwnNamesAreThoseNoRouteClaims(t *testing.T) {
	table, err := NewTable(testRules, testOwn)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"proxy.test": true, "PROXY.test.": true, "x.cert.test": true, "cert.test": false,
		"web.example.test": false, "x.example.test": false, "": false, "*.cert.test": true,
	} {
		if got := table.Own(name); got != want {
			t.Errorf("Own(%q) = %v, want %v", name, got, want)
		}
	}
	want := list("*.a.example.test", "*.example.test", "auth.test", "kube-teleport-proxy-alpn.*", "kube-teleport-proxy-alpn.a.*",
		"mixed.test", "pg.example.test", "raw.example.test", "web.example.test")
	if d := cmp.Diff(want, table.Names()); d != "" {
		t.Errorf("names: -want +got:\n%s", d)
	}
}
