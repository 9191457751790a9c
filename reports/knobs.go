package reports

import (
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// gradeOrder has the least sure first: what a reader should doubt.
var gradeOrder = []string{"unknown", "A", "I", "S", "O", "D"}

// gradeGroup are the knobs of one grade.
type gradeGroup struct {
	Name  string
	Knobs []result.Knob
}

// gradeGroups sorts the knobs of a simulated load balancer by how sure they are.
func gradeGroups(knobs []result.Knob) []gradeGroup {
	var groups []gradeGroup
	for _, grade := range gradeOrder {
		g := gradeGroup{Name: result.Grades[grade]}
		for _, k := range knobs {
			if k.Grade == grade {
				g.Knobs = append(g.Knobs, k)
			}
		}
		if len(g.Knobs) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// knobText counts them in words.
func knobText(knobs []result.Knob) string {
	var parts []string
	for _, g := range gradeGroups(knobs) {
		parts = append(parts, fmt.Sprintf("%d %s", len(g.Knobs), g.Name))
	}
	return strings.Join(parts, ", ")
}
