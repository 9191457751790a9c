package clients

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTheTableIsOfTheseTests: every cell of the README's table is a subtest of TestClients, and the other way round.
func TestTheTableIsOfTheseTests(t *testing.T) {
	data, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{row(append([]string{"client", "protocol"}, paths...)), row(slices.Repeat([]string{"---"}, 2+len(paths)))}
	for _, c := range clients {
		want = append(want, row(append([]string{c.name, c.protocol}, slices.Repeat([]string{"✓"}, len(paths))...)))
	}
	var got []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "| client | protocol |") || len(got) > 0 {
			if !strings.HasPrefix(line, "|") {
				break
			}
			got = append(got, row(cells(line)))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of the README is not what TestClients runs (-tests +README):\n%s", diff)
	}
}

func row(cells []string) string { return strings.Join(cells, " | ") }

func cells(line string) []string {
	list := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}
