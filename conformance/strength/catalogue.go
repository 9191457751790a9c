package strength

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Layer is what a fault gets to see.
type Layer string

// The layers.
const (
	// Wire is the bytes as they come from the client, before the direct path, the upgraded one and the instances.
	Wire Layer = "wire"
	// HTTP is what is inside the outer TLS of an upgrade endpoint: one request, its answer, and frames.
	HTTP Layer = "http"
)

// Fault is one way in which what stands before a router can spoil connections.
type Fault struct {
	// Name is permanent; About says what is done, in the words of a person.
	Name, About string
	Layer       Layer
	// New makes the handler of one proxy: a fault may remember what passed before.
	New func() Handler
	// Idle is the idle timeout that a fault gives the path; zero leaves the path's own.
	Idle time.Duration
	// Checks are the ids of those that must notice: of a target that conforms each has been seen to FAIL for this fault.
	Checks []string

	run []string // Checks, or all
}

// Faults is the catalogue, in the order of names.
func Faults() []Fault {
	list := slices.Concat(byteFaults, endFaults, helloFaults, recordFaults, httpFaults, frameFaults, idleFaults)
	slices.SortFunc(list, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Select returns the faults whose names match one of the globs, all without one. A glob that matches none is an error.
func Select(globs []string) ([]Fault, error) {
	all := Faults()
	if len(globs) == 0 {
		return all, nil
	}
	chosen := map[string]bool{}
	for _, glob := range globs {
		found := false
		for _, f := range all {
			ok, err := path.Match(glob, f.Name)
			if err != nil {
				return nil, fmt.Errorf("choosing faults: %q: %w", glob, err)
			}
			if ok {
				chosen[f.Name], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("unknown fault %q", glob)
		}
	}
	return slices.DeleteFunc(all, func(f Fault) bool { return !chosen[f.Name] }), nil
}

// none is the proxy of a fault without the fault: what does not conform behind it says nothing about the fault.
func (f Fault) none() Fault {
	f.Name, f.Checks, f.run = "none", nil, nil
	switch {
	case f.Idle > 0:
		f.New = idle{up: true, down: true}.handler
	case f.Layer == HTTP:
		f.New = exchange{}.handler
	default:
		f.New = pipe(nil, nil)
	}
	return f
}

// pipe is for faults that remember nothing.
func pipe(up, down Copy) func() Handler { return func() Handler { return Pipe(up, down) } }
