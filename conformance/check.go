// Package conformance puts requirements to a router, a client or a load balancer and says what came of each.
//
// A check is data plus one function. The data say what is required, by which document, which outcomes are accepted and
// which are forbidden; the function makes something happen and reports what it saw as an [Outcome], never a verdict. The
// engine turns outcomes into verdicts, so that a check cannot be lenient by accident: an outcome that the check does not
// list is a FAIL. A timeout is an outcome of its own and never the same as a refusal.
//
// The package knows no implementation. What it judges is described by a [Target]; what stands behind the target is a
// witness (internal/witness) whose own record every positive assertion is compared with.
package conformance

import (
	"context"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Level is how binding a requirement is.
type Level string

// The levels of a check.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	May    Level = "MAY"
	Info   Level = "INFO"
)

// Origin is who requires it. A policy of this suite is never reported as a violation of an RFC.
type Origin string

// The origins of a requirement.
const (
	RFC    Origin = "rfc"
	Vendor Origin = "vendor"
	Policy Origin = "policy"
)

// Role is what a target is judged as.
type Role string

// The roles a target can play.
const (
	Router       Role = "router"
	Client       Role = "client"
	LoadBalancer Role = "lb"
)

// Transport is how a check reaches the router.
type Transport string

// The transports. A check is run once for each of its transports that the target offers.
const (
	// Direct is TCP to the router's port.
	Direct Transport = "direct"
	// Upgraded is a tunnel through an upgrade, over whichever path the target names.
	Upgraded Transport = "upgraded"
)

// Outcome is what a check saw: a short word from a small vocabulary.
//
//	routed            the right witness answered, and its record agrees
//	misrouted         another witness answered
//	alert:N           a TLS alert by number          (alert:120)
//	fin, rst          the peer ended TCP             (without an alert)
//	http:N            an HTTP status                 (http:404)
//	timeout           nothing came within the wait: never the same as a refusal
//	refused           the TCP connection was refused
//	intact, lost, corrupted, truncated   what became of bytes sent
//
// A check may define more words of its own; each of these is in its Accept or Forbid. An error that fits no word is "error: …",
// which no check accepts.
type Outcome string

// The outcomes that more than one check uses.
const (
	Routed    Outcome = "routed"
	Misrouted Outcome = "misrouted"
	FIN       Outcome = "fin"
	RST       Outcome = "rst"
	Timeout   Outcome = "timeout"
	Refused   Outcome = "refused"
	Intact    Outcome = "intact"
	Lost      Outcome = "lost"
	Corrupted Outcome = "corrupted"
	Truncated Outcome = "truncated"
)

// Accepted is an outcome that conforms, the verdict it earns (PASS or TOLERATED), and the clause that allows it.
type Accepted struct {
	Outcome Outcome
	Verdict result.CheckVerdict
	Clause  string
}

// Check is one requirement. Values are immutable once registered.
type Check struct {
	// ID is permanent and never used again, such as "DET-02"; Slug is its name for people, such as "ch-split-tcp".
	ID, Slug string
	// Title says the requirement in one line; Why says to a person what breaks in the field when it is not met.
	Title, Why string
	Level      Level
	Origin     Origin
	Clauses    []result.Clause
	Role       Role
	Transports []Transport
	// Features a target must claim; without one the verdict is UNSUPPORTED.
	Features []string
	// Depends are ids whose failure makes this one DEP-FAILED.
	Depends []string
	Tags    []string
	// Accept lists the outcomes that conform; Forbid those that are known to be wrong, with the reason. Anything else is a FAIL too.
	// A check of level Info never fails: what it does not accept is TOLERATED, with the reason.
	Accept []Accepted
	Forbid map[Outcome]string
	// Setup, if not nil, is the configuration that the check needs in place of the fixture's; its Transports may be Direct and Upgraded all
	// the same.
	Setup *Setup
	// Relaunches says that a check of a load balancer starts instances with other documents, by [T.Relaunch], which refuses one that does
	// not say so.
	Relaunches bool
	// Timeout bounds the whole check; 10 s when zero. It is scaled by the calibrated round-trip time.
	Timeout time.Duration
	// Control is the positive control: the same thing done in the way that must work. When it fails nothing has been
	// learnt about the requirement and the verdict is INCONCLUSIVE.
	Control func(ctx context.Context, t *T) error
	// Run makes it happen and reports what it saw. An error is trouble of the harness (INCONCLUSIVE), not of the target.
	Run func(ctx context.Context, t *T) (Observation, error)
}

// Observation is what Run saw.
type Observation struct {
	Outcome Outcome
	// Detail is a sentence with the actual values: offsets, counts, bytes in hex.
	Detail string
	// Diff is the first byte that is not what it should be, where bytes were compared; see [Difference].
	Diff *result.Diff
}
