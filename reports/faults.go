package reports

import (
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// faultsText says what the scenario had happen while the load was on; empty for nothing.
func faultsText(run *result.Run) string {
	var list []string
	for _, f := range run.Faults {
		text := strings.Join(strings.Fields(fmt.Sprintf("%s at %s %s %s", f.Kind, f.LoadBalancer, f.Hop, f.Direction)), " ")
		if f.ForNS > 0 {
			text += " for " + duration(f.ForNS)
		}
		list = append(list, duration(f.AtNS)+" "+text)
	}
	if len(list) == 0 {
		return ""
	}
	return "Faults while the load was on: " + strings.Join(list, "; ") + "."
}
