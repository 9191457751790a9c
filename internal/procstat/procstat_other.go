//go:build !linux

package procstat

import (
	"errors"
	"fmt"
)

var errSystem = fmt.Errorf("what a process uses is read on Linux only: %w", errors.ErrUnsupported)

// Family is the process alone.
func Family(pid int) Group { return Group{pid} }

// CPU is not known here.
func (Group) CPU() (CPU, error) { return CPU{}, errSystem }

// Hold is not known here.
func (Group) Hold() (Holding, error) { return Holding{}, errSystem }
