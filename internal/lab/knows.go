package lab

import (
	"fmt"
	"slices"
	"strings"
)

// Drivers are the values of Options.Backends.
var Drivers = []string{"embedded", "local", "auto"}

// KnowsDriver returns nil for a value that Options.Backends may have.
func KnowsDriver(name string) error {
	switch {
	case slices.Contains(Drivers, name):
		return nil
	case name == "container":
		return fmt.Errorf("this version has no container backends yet: use local for the real servers of this machine")
	}
	return fmt.Errorf("no driver is called %q: there are %s", name, strings.Join(Drivers, ", "))
}
