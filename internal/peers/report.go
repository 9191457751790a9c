//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// result is one line of the table.
type result struct {
	Row    string `json:"row"`
	Figure string `json:"figure"`
	// Arms by name; a router that was not measured is not there.
	Arms   map[string]cell `json:"arms"`
	Target string          `json:"target"`
	// Reached is absent without a target, and where what it needs was not measured.
	Reached *bool `json:"reached,omitempty"`
}

// cell is what one router made of a figure.
type cell struct {
	Rounds []float64 `json:"rounds"`
	Median float64   `json:"median"`
	// Ratio is ours to this one's, round by round: its median and its range.
	Ratio *span `json:"ours_to_this,omitempty"`
}

type span struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// results turns the samples of a row into its lines.
func (r row) results(samples map[string][]sample) []result {
	var lines []result
	for _, f := range r.figures {
		line := result{Row: r.name, Figure: f.unit, Arms: map[string]cell{}, Target: f.target.String()}
		var own []float64
		for _, s := range samples[ours] {
			own = append(own, f.of(s))
		}
		for name, list := range samples {
			var c cell
			for _, s := range list {
				c.Rounds = append(c.Rounds, f.of(s))
			}
			c.Median = median(c.Rounds)
			if name != ours && len(own) > 0 {
				c.Ratio = ratio(own, c.Rounds)
			}
			line.Arms[name] = c
		}
		line.Reached = f.target.reached(line.Arms)
		lines = append(lines, line)
	}
	return lines
}

// reached is nil where there is no target, or nothing to hold against it.
func (t *target) reached(arms map[string]cell) *bool {
	own, ok := arms[ours]
	if !ok || t == nil {
		return nil
	}
	if t.peer == "" {
		// The worst round counts: memory and losses are no matter of chance.
		worst := slices.Max(own.Rounds)
		if t.atLeast {
			worst = slices.Min(own.Rounds)
		}
		holds := t.holds(worst)
		return &holds
	}
	peer := t.peer
	if peer == bestPeer {
		peer = t.best(arms)
	}
	c, ok := arms[peer]
	if !ok {
		return nil
	}
	holds := c.Ratio != nil && t.holds(c.Ratio.Median)
	return &holds
}

// best is the peer with the best median, or none.
func (t *target) best(arms map[string]cell) string {
	name := ""
	for candidate, c := range arms {
		if candidate == ours {
			continue
		}
		if name == "" || c.Median != arms[name].Median && c.Median > arms[name].Median == t.atLeast {
			name = candidate
		}
	}
	return name
}

// ratio is nil where the other has a round of nothing.
func ratio(own, other []float64) *span {
	var ratios []float64
	for i := range min(len(own), len(other)) {
		if other[i] == 0 {
			return nil
		}
		ratios = append(ratios, own[i]/other[i])
	}
	return &span{Median: median(ratios), Low: slices.Min(ratios), High: slices.Max(ratios)}
}

// median of at least one value; of an even number, the mean of the middle two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func missed(results []result) bool {
	return slices.ContainsFunc(results, func(r result) bool { return r.Reached != nil && !*r.Reached })
}

// printTable writes a line a figure: our median, each peer's, and behind it ours/peer with its range over the rounds.
func printTable(w io.Writer, results []result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "row\tfigure\tours")
	for _, name := range everyArm[1:] {
		fmt.Fprintf(t, "\t%s", name)
	}
	fmt.Fprintln(t, "\ttarget\treached")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s", r.Row, r.Figure)
		for _, name := range everyArm {
			c, ok := r.Arms[name]
			switch {
			case !ok:
				fmt.Fprint(t, "\t-")
			case c.Ratio == nil:
				fmt.Fprintf(t, "\t%.4g", c.Median)
			default:
				fmt.Fprintf(t, "\t%.4g (%.2f: %.2f-%.2f)", c.Median, c.Ratio.Median, c.Ratio.Low, c.Ratio.High)
			}
		}
		reached := "-"
		if r.Reached != nil {
			reached = map[bool]string{true: "yes", false: "NO"}[*r.Reached]
		}
		fmt.Fprintf(t, "\t%s\t%s\n", r.Target, reached)
	}
	_ = t.Flush() // to a terminal or a pipe of the user's
}
