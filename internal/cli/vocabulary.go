package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/conformance"
	_ "github.com/tlsroute/tlsroute-bench/conformance/checks" // the catalogue
	"github.com/tlsroute/tlsroute-bench/internal/document"
	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
)

// vocabulary is what the rooms know by name and the schema does not, where backends is the driver of those that name none.
func vocabulary(backends string) scenario.Vocabulary {
	return scenario.Vocabulary{
		Check: func(glob string) error {
			_, err := conformance.Select(conformance.Options{Only: []string{glob}})
			return err
		},
		Limit:        func(expr string, arms []string) error { return bench.CheckLimits([]string{expr}, arms...) },
		Workload:     checkWorkload,
		WorkloadKind: bench.WorkloadBackend,
		Topology:     lab.CheckOn(backends),
	}
}

// checkWorkload asks the bench about the options of a workload, whose rates are given or come from elsewhere.
func checkWorkload(w scenario.Workload, given bool) ([]string, error) {
	_, err := bench.CheckShape(w.Name, lab.Shape(w), w.Rate, w.ConnectRate, given)
	if fault, ok := errors.AsType[*bench.OptionError](err); ok {
		return strings.Split(fault.Option, "."), errors.New(fault.Message)
	}
	return nil, err
}

// loadScenario reads a scenario for a command, whose flag --backends is given, "" without one; its faults are printed whole and end the command with status 2.
func loadScenario(file string, sets []string, backends string) (*scenario.Scenario, error) {
	var overrides []document.Override
	for _, s := range sets {
		o, err := document.ParseOverride(s)
		if err != nil {
			return nil, withStatus(result.ExitUsage, err)
		}
		overrides = append(overrides, o)
	}
	sc, err := scenario.Load(file, vocabulary(backends), overrides...)
	if faults, ok := errors.AsType[*document.Faults](err); ok {
		return nil, usagef("%s has %s; nothing was started\n%w", file, plural(len(faults.List), "fault"), err)
	}
	return sc, withStatus(result.ExitUsage, err)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
