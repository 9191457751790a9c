package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// oracle finds the rule of rows 1 and 2 the slow way: every rule is scored against the name.
func oracle(rules []Rule, sni string, alpn []string) int {
	offered := alpn
	if len(offered) == 0 {
		offered = list("http/1.1")
	}
	score := func(r Rule) int { // 1000 exact, length of the wildcard, 0 without sni, -1 no
		if len(r.SNI) == 0 {
			return 0
		}
		best := -1
		for _, n := range r.SNI {
			if n == sni {
				best = max(best, 1000)
			} else if tail, ok := strings.CutPrefix(n, "*"); ok && strings.HasSuffix(sni, tail) && len(sni) > len(tail) {
				best = max(best, len(n))
			}
		}
		return best
	}
	found, key := -1, [2]int{-1, 0}
	for i, r := range rules {
		s := score(r)
		if s < 0 {
			continue
		}
		rank := -1000 // a rule without alpn comes last
		if len(r.ALPN) > 0 {
			at := slices.IndexFunc(offered, func(n string) bool { return slices.Contains(r.ALPN, n) })
			if at < 0 {
				continue
			}
			rank = -at
		}
		if k := [2]int{s, rank}; k[0] > key[0] || k[0] == key[0] && k[1] > key[1] || found < 0 {
			found, key = i, k
		}
	}
	return found
}

func TestMatchAgreesWithASlowOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	names := list("a.test", "b.a.test", "c.b.a.test", "*.test", "*.a.test", "*.b.a.test", "b.test")
	alpns := list("p", "q", "r", "http/1.1")
	some := func(from []string, most int) (out []string) {
		for range rnd.IntN(most + 1) {
			if n := from[rnd.IntN(len(from))]; !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
		return out
	}
	tables := 0
	for range 5000 {
		rules := make([]Rule, 1+rnd.IntN(5))
		for i := range rules {
			rules[i] = Rule{Name: fmt.Sprint(i), SNI: some(names, 2), ALPN: some(alpns, 2)}
		}
		table, err := NewTable(rules, nil)
		if err != nil {
			continue // a clash
		}
		tables++
		for range 20 {
			sni := append(list("", "x.test", "d.c.b.a.test"), names[:3]...)[rnd.IntN(6)]
			offered := some(alpns, 3)
			got := table.Match(sni, offered)
			if want := oracle(rules, sni, offered); got.Index != want {
				t.Fatalf("%+v\n%q %q: got %+v, want rule %d", rules, sni, offered, got, want)
			}
		}
	}
	if tables < 500 {
		t.Errorf("only %d tables without a clash", tables)
	}
}

func BenchmarkMatchIsIndependentOfTheRoutes(b *testing.B) {
	for _, n := range []int{10, 10000} {
		rules := make([]Rule, n)
		for i := range rules {
			rules[i] = Rule{Name: fmt.Sprint(i), SNI: list(fmt.Sprintf("r%d.example.test", i)), ALPN: list("p")}
		}
		table, err := NewTable(rules, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if d := table.Match("r7.example.test", list("p")); d.Index != 7 {
					b.Fatal(d)
				}
			}
		})
	}
}
