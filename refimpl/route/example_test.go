package route_test

import (
	"fmt"

	"github.com/tlsroute/tlsroute-bench/refimpl/route"
)

func ExampleTable_Match() {
	table, err := route.NewTable([]route.Rule{
		{Name: "postgres", SNI: []string{"pg.example.test"}, ALPN: []string{"teleport-postgres"}},
		{Name: "ssh", ALPN: []string{"teleport-proxy-ssh"}},
	}, []string{"proxy.example.test"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, hello := range []struct {
		sni  string
		alpn []string
	}{
		{"pg.example.test", []string{"teleport-postgres"}},
		{"", []string{"teleport-proxy-ssh"}},
		{"pg.example.test", []string{"h2"}},
		{"proxy.example.test", nil},
		{"nobody.test", nil},
	} {
		d := table.Match(hello.sni, hello.alpn)
		fmt.Println(d.Kind, d.Index, d.Alert(), d.Why)
	}
	// Output:
	// route 0 0 row 1: pg.example.test, teleport-postgres
	// route 1 0 row 2: a route without sni, teleport-proxy-ssh
	// no-alpn -1 120 row 3: no route of "pg.example.test" takes ["h2"]
	// own-endpoint -1 0 row 4: own name or none, no ALPN
	// no-name -1 112 row 5: nobody knows "nobody.test"
}
