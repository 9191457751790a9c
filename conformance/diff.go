package conformance

import (
	"encoding/hex"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// How much is shown of two byte strings that differ: before the difference, and from it on.
const (
	diffBefore = 8
	diffFrom   = 24
)

// Difference is the first difference of what should have come and what did, nil when there is none. Both begin at offset at.
func Difference(want, got []byte, at int64) *result.Diff {
	n := 0
	for n < min(len(want), len(got)) && want[n] == got[n] {
		n++
	}
	if n == len(want) && n == len(got) {
		return nil
	}
	from := max(0, n-diffBefore)
	show := func(b []byte) string { return hex.EncodeToString(b[min(from, len(b)):min(n+diffFrom, len(b))]) }
	return &result.Diff{Offset: at + int64(n), From: at + int64(from), Want: show(want), Got: show(got)}
}
