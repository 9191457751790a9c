package targets_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// suiteTime bounds a run of the suite. The slowest takes twenty seconds on two cores.
const suiteTime = 3 * time.Minute

// TestTheSuiteFindsWhatTheBaselinesSay puts the whole suite to every stranger: what fails is listed, and what is listed fails. A load
// balancer is put to one check at a time, and mostly waited for: these runs go side by side, behind those of the routers.
func TestTheSuiteFindsWhatTheBaselinesSay(t *testing.T) {
	program := filepath.Join(t.TempDir(), "tlsroute-bench")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, a := range adapters {
		product, _, _ := strings.Cut(strings.ReplaceAll(a.name, "_", "-"), "-")
		name := product + "-" + a.role
		t.Run(name, func(t *testing.T) {
			if a.role == "lb" {
				t.Parallel()
			}
			ctx, cancel := context.WithTimeout(t.Context(), suiteTime)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, "run", "alb", "--no-bench", "--quiet", "--target", a.role+"="+name+".yaml", "--out", t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
