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
	score := func(r Rule) int { // 10000 exact, 1000 and the length of a prefix, length of a wildcard, 0 without sni, -1 no
		if len(r.SNI) == 0 {
			return 0
		}
		best := -1
		for _, n := range r.SNI {
			if n == sni {
				best = max(best, 10000)
			} else if head, ok := strings.CutSuffix(n, "*"); ok && strings.HasPrefix(sni, head) && len(sni) > len(head) {
				best = max(best, 1000+len(n))
			} else if tail, ok := strings.CutPrefix(n, "*"); ok && strings.HasSuffix(sni, tail) && len(sni) > len(tail) {
				best = max(best, len(n))
			}
		}
		return best
	}
	takes := func(r Rule, name string) int { // 1000 exact, length of a prefix, -1 no
		best := -1
		for _, n := range r.ALPN {
			if n == name {
				best = 1000
			} else if head, ok := strings.CutSuffix(n, "*"); ok && strings.HasPrefix(name, head) && name != head {
				best = max(best, len(n))
			}
		}
		return best
	}
	found, key := -1, []int(nil)
	for i, r := range rules {
		k := []int{score(r), -1000, 0} // a rule without alpn comes last
		if len(r.ALPN) > 0 {
			at := slices.IndexFunc(offered, func(n string) bool { return takes(r, n) >= 0 })
			if at < 0 {
				continue
			}
			k[1], k[2] = -at, takes(r, offered[at])
		}
		if k[0] >= 0 && slices.Compare(k, key) > 0 {
			found, key = i, k
		}
	}
	return found
}

func TestMatchAgreesWithASlowOracle(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	names := list("a.test", "b.a.test", "c.b.a.test", "*.test", "*.a.test", "*.b.a.test", "b.test", "c.*", "c.b.*", "b.*")
	alpns := list("p", "q", "r", "http/1.1", "p*", "pq*", "pq", "pqr")
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

// manyRules are n routes of every shape: exact names, wildcards and prefixes, each with ALPN names and prefixes.
func manyRules(n int) []Rule {
	rules := make([]Rule, n)
	for i := range rules {
		sni := []string{"r%d.example.test", "*.r%d.example.test", "r%d.kube.*"}[i%3]
		rules[i] = Rule{Name: fmt.Sprint(i), SNI: list(fmt.Sprintf(sni, i)), ALPN: list("p", "auth@*")}
	}
	return rules
}

// manyHellos meet rules 6, 7 and 8 of manyRules.
var manyHellos = []struct {
	sni  string
	alpn []string
}{
	{"r6.example.test", list("x", "p")}, {"a.b.r7.example.test", list("auth@cluster")}, {"r8.kube.example.test", list("p")},
}

func manyTable(t testing.TB, n int) *Table {
	t.Helper()
	table, err := NewTable(manyRules(n), nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Ten thousand routes cost what ten do: as many allocations, and as many look-ups, each in a map.
func TestMatchCostsTheSameHoweverManyRoutesThereAre(t *testing.T) {
	few, many := manyTable(t, 10), manyTable(t, 10000)
	for _, h := range manyHellos {
		a := testing.AllocsPerRun(100, func() { few.Match(h.sni, h.alpn) })
		b := testing.AllocsPerRun(100, func() { many.Match(h.sni, h.alpn) })
		if a != b {
			t.Errorf("%s: %v allocations with 10 routes, %v with 10,000", h.sni, a, b)
		}
	}
	for key, e := range many.names {
		if len(e.lengths) != 1 {
			t.Fatalf("%s: %d steps for an ALPN prefix of one length", key, len(e.lengths))
		}
	}
	steps := 0
	for range keys(strings.Repeat("a.", 127) + "a") {
		steps++
	}
	if want := 1 + 127 + 127; steps != want {
		t.Errorf("the longest name is looked up %d times, want %d", steps, want)
	}
	for range keys(strings.Repeat("a.", 30000) + "a") {
		t.Fatal("a name longer than any rule's is looked up")
	}
	crowd := make([]Rule, 10000)
	for i := range crowd {
		crowd[i] = Rule{Name: fmt.Sprint(i), ALPN: list(strings.Repeat("x", i%200) + fmt.Sprint(i) + "*")}
	}
	table, err := NewTable(crowd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.nameless.lengths); n > 254 {
		t.Errorf("%d steps for 10,000 ALPN prefixes of one name", n)
	}
	if d := table.Match("", list("x", "0!")); d.Index != 0 {
		t.Errorf("got %+v", d)
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 10000} {
		table := manyTable(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for i, h := range manyHellos {
					if d := table.Match(h.sni, h.alpn); d.Index != 6+i {
						b.Fatal(d)
					}
				}
			}
		})
	}
}
