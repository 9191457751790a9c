package conformance

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Group is the family of the check: what its id begins with, such as "DET".
func (c Check) Group() string {
	group, _, _ := strings.Cut(c.ID, "-")
	return group
}

// TimeLimit bounds the check on a path whose round-trip time is nothing.
func (c Check) TimeLimit() time.Duration { return cmp.Or(c.Timeout, checkTimeout) }

// LimitText is the time limit in words, with what the round trips of a path add to it.
func (c Check) LimitText() string {
	return fmt.Sprintf("%v, and %d round trips of the path", c.TimeLimit(), checkRTTs)
}

// Binding says how binding the requirement is and who says so. What is this suite's own policy, or only what a vendor says, cannot be
// taken for the word of a standard.
func (c Check) Binding() string {
	text := ""
	switch c.Origin {
	case RFC:
		doc := c.Clauses[0].Doc
		for _, clause := range c.Clauses {
			if strings.HasPrefix(clause.Doc, "RFC ") {
				doc = clause.Doc
				break
			}
		}
		text = ", by " + doc
	case Vendor:
		text = ", by what a vendor documents or a product is known to do; not the requirement of an RFC"
	default:
		text = " by the policy of this suite; no RFC requires it"
		if c.Level != Info {
			text += ", and what fails here violates none"
		}
	}
	if c.Level == Info {
		text += "; it is recorded, and never fails"
	}
	return string(c.Level) + text
}

// Otherwise is the verdict on an outcome that the check does not accept, named by it or not.
func (c Check) Otherwise() result.CheckVerdict {
	if c.Level == Info {
		return result.CheckTolerated
	}
	return result.CheckFail
}

// Instance says what instance the check is put to in place of the one that the target's paths lead to; empty for that one.
func (c Check) Instance() string {
	switch {
	case c.Setup != nil:
		return c.Setup.String()
	case c.Relaunches:
		return "ones of its own, which it starts with other documents and no other check sees"
	}
	return ""
}

// String says what instance a setup asks for.
func (s *Setup) String() string {
	if s.Alone {
		return fmt.Sprintf("one of its own (%s), which no other check sees", s.Name)
	}
	return fmt.Sprintf("one set up for it (%s), which checks with the same setup share", s.Name)
}

// NamedWait is one of the waits that checks have: it grows with the round-trip time of the path, between a floor and a ceiling.
type NamedWait struct {
	Name, For      string
	Floor, Ceiling time.Duration // no ceiling when zero
	RTTs           int
}

// NamedWaits are those of [T.Wait], [T.Silence] and [T.Gap].
func NamedWaits() []NamedWait {
	return []NamedWait{
		{Name: "wait", For: "for what must come", Floor: waitFloor, RTTs: waitRTTs},
		{Name: "silence", For: "for what must not come, to count as silence", Floor: silenceFloor, RTTs: silenceRTTs},
		{Name: "gap", For: "between two segments that are to arrive apart", Floor: gapFloor, RTTs: gapRTTs, Ceiling: gapCeiling},
	}
}
