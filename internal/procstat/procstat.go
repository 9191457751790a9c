// Package procstat reads what running processes use of the machine: processor time, memory, descriptors and bytes read and written.
// It needs Linux; elsewhere everything is an error that wraps errors.ErrUnsupported.
package procstat

import "time"

// Group are the ids of processes that are read as one, such as nginx and its workers.
type Group []int

// CPU is processor time used so far, of threads that have ended too.
type CPU struct {
	Total time.Duration
	// System is the part in the kernel, counted in ticks of 10 ms.
	System time.Duration
}

// Sub is what was used since earlier.
func (c CPU) Sub(earlier CPU) CPU { return CPU{c.Total - earlier.Total, c.System - earlier.System} }

// Add is both together.
func (c CPU) Add(d CPU) CPU { return CPU{c.Total + d.Total, c.System + d.System} }

// Holding is what processes hold and have copied.
type Holding struct {
	PSS         int64 // bytes of user memory, shared pages by share
	Descriptors int
	// Read and Written are bytes through read(2), write(2) and their like. Neither splice nor recv and send count, so they are all that
	// a Go program copies and nothing of what HAProxy does.
	Read, Written int64
}
