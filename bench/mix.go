package bench

import (
	"errors"
	"fmt"
	"hash/fnv"
)

// Share is one of several routes that the tunnels of a workload are led to.
type Share struct {
	Name string // of the route, for the report
	// Weight is its share of the tunnels, of the sum of all weights.
	Weight int
	Access Access
}

// mix chooses the route of each tunnel by weight and seed: the same in every arm, whatever became of the tunnels before it.
type mix struct {
	seed   uint64
	shares []Share
	sum    uint64
}

func newMix(seed int64, label string, shares []Share) mix {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/route", label) // a hash never fails to be written
	m := mix{seed: uint64(seed) ^ h.Sum64(), shares: shares}
	for _, s := range shares {
		m.sum += uint64(s.Weight)
	}
	return m
}

// lasting is where a tunnel that is open all the time belongs, given its number.
const lasting = -1

// route is the number of the route of tunnel seq of a window.
func (m mix) route(window, seq int) int {
	if len(m.shares) < 2 {
		return 0
	}
	// splitmix64: any two arguments give numbers that have nothing to do with each other.
	x := m.seed + uint64(window)*0x9e3779b97f4a7c15 + uint64(seq)*0xd1b54a32d192ed03
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x = (x ^ x>>31) % m.sum
	for i, s := range m.shares {
		if x < uint64(s.Weight) {
			return i
		}
		x -= uint64(s.Weight)
	}
	return 0 // never: x was below the sum
}

// checkMix says what is wrong with the routes of a workload.
func (w *WorkloadPlan) checkMix() error {
	for i, s := range w.Mix {
		if s.Weight < 1 || s.Weight > maxWeight {
			return fmt.Errorf("mix[%d]: a weight of %d is not between 1 and %d", i, s.Weight, maxWeight)
		}
	}
	for i, a := range w.Arms {
		if len(w.Mix) == 0 && a.Dial == nil {
			return fmt.Errorf("arms[%d] (%s): no dial function", i, a.Path)
		}
		if len(a.Mix) != len(w.Mix) {
			return fmt.Errorf("arms[%d] (%s): %d dial functions for %d routes", i, a.Path, len(a.Mix), len(w.Mix))
		}
		for _, d := range a.Mix {
			if d == nil {
				return errors.New("a route without a dial function")
			}
		}
	}
	return nil
}

// maxWeight bounds a weight, so that a sum of them is a number.
const maxWeight = 1_000_000

// shape is result.Workload.Shape: the options, and the routes by their names and weights.
func (w *WorkloadPlan) shape() map[string]string {
	whole := w.Shape
	if w.burst > 0 {
		whole.Burst = w.burst
	}
	out := whole.words()
	for _, s := range w.Mix {
		out["route "+s.Name] = fmt.Sprintf("weight %d", s.Weight)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
