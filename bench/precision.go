package bench

import (
	"context"
	"errors"
	"time"
)

// Precision is a rule that ends a measurement: not before Plan.Pairs pairs of windows, then as soon as the 95 per cent interval of
// every arm's ratio to the baseline, of p50 and of p99 of the main phase, is no wider than ± these shares of the ratio, or when Budget
// is over. What the ratio is plays no part: a rule that waits for significance finds it in the end, whether or not it is there.
type Precision struct {
	P50, P99 float64 // 0 is the default
	// Budget is the time of one workload at one level, from its first measured window.
	Budget time.Duration
}

// Defaults of a Precision.
const (
	DefaultPrecisionP50 = 0.02
	DefaultPrecisionP99 = 0.05
	DefaultBudget       = time.Minute
)

func (p *Plan) preparePrecision() error {
	if p.Precision == nil {
		return nil
	}
	rule := *p.Precision
	setDefault(&rule.P50, DefaultPrecisionP50)
	setDefault(&rule.P99, DefaultPrecisionP99)
	setDefault(&rule.Budget, DefaultBudget)
	if !(rule.P50 > 0) || !(rule.P99 > 0) || rule.Budget < 0 {
		return errors.New("precision and budget must not be negative")
	}
	p.Precision = &rule
	return nil
}

// looks: the intervals are looked at again when there are an eighth more pairs. To look after each pair took more of the machine than the
// windows of 100 ms between, and intervals narrow with the root of their number.
const looks = 8

// What may end a measurement (result.Workload.StoppedBy).
const (
	stoppedByPairs     = "pairs"
	stoppedByPrecision = "precision"
	stoppedByBudget    = "budget"
)

// stop says what ends the measurement now, "" for nothing. whole is false within a block: it is not looked at closely then, so that
// the arms take turns to its end.
func (r *run) stop(ctx context.Context, whole bool, elapsed time.Duration) (string, error) {
	rule, want := r.plan.Precision, r.pairsWanted()
	if r.windows-r.excluded < want {
		if r.windows >= stretch*want {
			return stoppedByPairs, nil
		}
		return "", nil
	}
	switch {
	case rule == nil:
		return stoppedByPairs, nil
	case !whole:
		return "", nil
	}
	// Of several processes each looks at its own part, which is less precise than the whole.
	if good := r.windows - r.excluded; good >= r.nextLook {
		r.nextLook = good + good/looks
		if precise, err := r.all(ctx, "is precise", r.precise(rule)); precise || err != nil {
			return stoppedByPrecision, err
		}
	}
	if within, err := r.all(ctx, "has time", elapsed < rule.Budget && r.windows < maxPairs); !within {
		return stoppedByBudget, err
	}
	return "", nil
}

// pairsWanted is how many good pairs there must be: the plan's, or those that the steps take.
func (r *run) pairsWanted() int {
	if len(r.w.Steps) > 0 {
		return r.w.places(r.plan.Window)
	}
	return r.plan.Pairs
}

// precise asks for the very intervals that the report will have. One arm alone has no ratio and is never imprecise.
func (r *run) precise(rule *Precision) bool {
	for _, cand := range r.arms[1:] {
		for i, within := range map[int]float64{0: rule.P50, 2: rule.P99} { // of quantiles
			c, _, ok := r.compareOne(r.arms[0], cand, r.mainPhase(), i, quantiles[i])
			if !ok || c.Pairs < minPairs || (c.CI95[1]-c.CI95[0])/2 > within*c.Ratio {
				return false
			}
		}
	}
	return true
}
