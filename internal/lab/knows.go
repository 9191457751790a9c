package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// Drivers are the values of Options.Backends.
var Drivers = []string{backend.Embedded, backend.Local, backend.Container, auto}

// auto takes the most real driver that works.
const auto = "auto"

// KnowsDriver returns nil for a value that Options.Backends may have.
func KnowsDriver(name string) error {
	if slices.Contains(Drivers, name) {
		return nil
	}
	return fmt.Errorf("no driver is called %q: there are %s", name, strings.Join(Drivers, ", "))
}
