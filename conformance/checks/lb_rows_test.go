package checks

import (
	"os"
	"strings"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
)

// Every row of what is known of load balancers is a check, whose first clause is that row, or is listed with the reason why not. The level
// is that of the grade: documented is MUST, observed SHOULD, and what nobody has seen only INFO.
func TestEveryRowIsACheckOrHasAReason(t *testing.T) {
	data, err := os.ReadFile("../../docs/alb-rows.tsv")
	if err != nil {
		t.Fatal(err)
	}
	checks, reasons := map[string]conformance.Check{}, map[string]string{}
	for _, c := range conformance.Checks() {
		checks[c.ID] = c
	}
	for _, u := range conformance.Untestables() {
		reasons[u.ID] = u.Reason
	}
	levels := map[string]conformance.Level{
		"D": conformance.Must, "O": conformance.Should, "S": conformance.Should, "I": conformance.Info, "A": conformance.Info, "unknown": conformance.Info,
	}
	checked, listed := 0, 0
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		cells := strings.Split(line, "\t")
		c, isCheck := checks[cells[0]]
		switch {
		case isCheck == (reasons[cells[0]] != ""):
			t.Errorf("%s must be a check or listed as untestable, and not both; it is a check: %v", cells[0], isCheck)
		case !isCheck:
			listed++
			continue
		case c.Level != levels[cells[2]] && c.ID != "ALB-UPG-01": // documented as a whole; that both fields cross is inferred from that
			t.Errorf("%s has grade %s and level %s", c.ID, cells[2], c.Level)
		case !strings.HasPrefix(c.Clauses[0].Section, c.ID) && c.ID != "ALB-IDLE-05":
			t.Errorf("%s does not begin with its row: %+v", c.ID, c.Clauses[0])
		}
		checked++
	}
	t.Logf("%d rows are checks, %d are listed with the reason", checked, listed)
	if checked == 0 || listed == 0 {
		t.Error("no rows were found of one kind")
	}
}
