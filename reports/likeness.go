package reports

import (
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// likenessText says of one product how far the profile is like it.
func likenessText(l result.Likeness) string {
	came := plural(l.Compared, "check")
	switch n := len(l.Differences); {
	case l.Compared == 0:
		came += " saw something of both"
	case n == 0:
		came += ", no difference"
	default:
		came += ", " + plural(n, "difference")
	}
	parts := []string{fmt.Sprintf("%s %s against profile %s: %s", l.Product, l.Version, l.Profile, came)}
	for _, u := range l.Unclear {
		parts = append(parts, fmt.Sprintf("not put to both: %s, %s", strings.Join(u.Checks, ", "), u.Why))
	}
	return strings.Join(parts, "; ")
}

// likenessReading says what a difference means.
const likenessReading = "A difference is a finding about the simulator's profile, or about how the product is configured here. It fails nothing."
