package result

import "fmt"

// Matrix says which clients reach a service behind which router over which load balancer.
type Matrix struct {
	// Route is the one that every cell asks for.
	Route string `json:"route"`
	// Clients, Paths and Routers are the names on the three sides.
	Clients []string `json:"clients"`
	Paths   []string `json:"paths"`
	Routers []Party  `json:"routers"`
	Cells   []Cell   `json:"cells"`
}

// Party is an implementation in a matrix.
type Party struct {
	Name string `json:"name"`
	// Product and Version are what it calls itself; Reason says why its cells were not run, when they were not.
	Product string `json:"product,omitempty"`
	Version string `json:"version,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Cell is one combination.
type Cell struct {
	Client string `json:"client"`
	Path   string `json:"path"`
	Router string `json:"router"`
	// Verdict is PASS when the service answered, both sides agree on it and bytes came back unchanged; else FAIL, NOT-RUN or UNSUPPORTED.
	Verdict CheckVerdict `json:"verdict"`
	// Required cells fail the run; the others are there to be known.
	Required bool `json:"required"`
	// Outcome is a word as in CheckResult, Detail a sentence.
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
	// Class and Upgrade are how the client says it got through.
	Class      string   `json:"class,omitempty"`
	Upgrade    string   `json:"upgrade,omitempty"`
	DurationMS float64  `json:"duration_ms"`
	Evidence   []string `json:"evidence"`
}

// Cell returns the cell of a combination, nil when there is none.
func (m *Matrix) Cell(client, path, router string) *Cell {
	for i := range m.Cells {
		if c := &m.Cells[i]; c.Client == client && c.Path == path && c.Router == router {
			return c
		}
	}
	return nil
}

// judge says what of it fails a run, and how many cells were executed.
func (m *Matrix) judge() (failed []string, executed int) {
	for _, c := range m.Cells {
		if c.Verdict == CheckPass || c.Verdict == CheckFail {
			executed++
		}
		if c.Required && c.Verdict != CheckPass {
			failed = append(failed, fmt.Sprintf("matrix: client %s does not reach router %s over %s: %s", c.Client, c.Router, c.Path, c.Detail))
		}
	}
	return failed, executed
}
