// Command gen writes the JSON Schemas that the project publishes, from the Go types they describe (the scenario, the
// router's and the simulator's configuration, and the result), the table of what the load balancers do, those of
// the simulator's profiles and of what nobody knows, and the page of the conformance checks. Run it by "make gen"; CI fails when the tree is then dirty.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/backend"
	"github.com/tlsroute/tlsroute-bench/internal/baseline"
	"github.com/tlsroute/tlsroute-bench/internal/realproxy"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/stranger"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
	"github.com/tlsroute/tlsroute-bench/refimpl/upgrade"
	"github.com/tlsroute/tlsroute-bench/reports"
)

const module = "github.com/tlsroute/tlsroute-bench"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen ROOT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	for _, s := range []struct {
		file, title string
		folders     []string
		value       any
	}{
		{"scenarios/schema/scenario.json", "tlsroute-bench scenario", []string{"internal/scenario"}, scenario.Scenario{}},
		{"scenarios/schema/router.json", "tlsroute-bench router configuration", []string{"refimpl/router"}, router.Config{}},
		{"scenarios/schema/alb.json", "tlsroute-bench load balancer configuration", []string{"albsim"}, albsim.Config{}},
		{"internal/baseline/schema/baseline.json", "tlsroute-bench baseline of known failures", []string{"internal/baseline"}, baseline.File{}},
		{"scenarios/schema/target.json", "tlsroute-bench target", []string{"internal/stranger"}, stranger.File{}},
		{"reports/schema/report.json", "tlsroute-bench report", []string{"internal/result"}, result.Run{}},
		{"reports/schema/compare.json", "tlsroute-bench comparison", []string{"reports", "internal/result"}, reports.Compared{}},
	} {
		r := &jsonschema.Reflector{
			DoNotReference:             true,
			RequiredFromJSONSchemaTags: !strings.HasPrefix(s.file, "reports/"),
			Mapper:                     mapper,
		}
		for _, folder := range s.folders {
			if err := r.AddGoComments(module, "./"+folder); err != nil {
				return fmt.Errorf("comments of %s: %w", folder, err)
			}
		}
		schema := r.Reflect(s.value)
		if _, ok := s.value.(scenario.Scenario); ok {
			if err := names(schema); err != nil {
				return err
			}
		}
		schema.ID, schema.Title = "", s.title
		data, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			return err
		}
		if err := write(filepath.Join(root, s.file), append(data, '\n')); err != nil {
			return err
		}
	}
	rows, err := loadRows(rowFolders...)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(root, rowsTable), table(rows)); err != nil {
		return err
	}
	comments, err := knobComments("albsim")
	if err != nil {
		return err
	}
	page, err := profilesTable(comments)
	if err != nil {
		return err
	}
	questions, err := loadUnknowns()
	if err != nil {
		return err
	}
	if err := write(filepath.Join(root, profilesPage), append(page, unknownsSection(questions)...)); err != nil {
		return err
	}
	requirements, err := loadCatalogue()
	if err != nil {
		return err
	}
	if page, err = (catalogue{requirements, rows, conformance.Checks(), conformance.Untestables()}).page(); err != nil {
		return err
	}
	return write(filepath.Join(root, cataloguePage), page)
}

func write(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// names puts into the scenario's schema what the rooms have registered, so that an editor can offer it.
func names(schema *jsonschema.Schema) error {
	for path, values := range map[string][]string{
		"backends.kind":                   backend.Kinds(),
		"bench.workloads.name":            bench.WorkloadNames(),
		"bench.workloads.tls.curve":       slices.Sorted(maps.Keys(bench.Curves)),
		"topology.faults.kind":            append(append(albsim.InjectionKinds(), scenario.KindRotate), scenario.BackendKinds...),
		"topology.load_balancer.profile":  albsim.Profiles(),
		"topology.load_balancer.real":     realproxy.Products(),
		"topology.load_balancers.profile": albsim.Profiles(),
		"topology.load_balancers.real":    realproxy.Products(),
		"topology.router.upgrade.types":   upgrade.Names(),
	} {
		at := schema
		for name := range strings.SplitSeq(path, ".") {
			if at.Items != nil {
				at = at.Items
			}
			if at.AdditionalProperties != nil && at.AdditionalProperties.Properties != nil { // a map: what its values have
				at = at.AdditionalProperties
			}
			next, ok := at.Properties.Get(name)
			if !ok {
				return fmt.Errorf("the schema has no %s", path)
			}
			at = next
		}
		if at.Items != nil {
			at = at.Items
		}
		for _, v := range values {
			at.Enum = append(at.Enum, v)
		}
	}
	return nil
}

// mapper gives the types that are written as something else in JSON: durations are strings.
func mapper(t reflect.Type) *jsonschema.Schema {
	switch {
	case t.Name() == "Duration" && strings.HasPrefix(t.PkgPath(), module):
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, Examples: []any{"500ms", "30s"}}
	case t == reflect.TypeFor[scenario.Percent]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?%$`, Examples: []any{"2%", "0.5%"}}
	case t == reflect.TypeFor[scenario.Size]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(B|KiB|MiB|GiB)$`, Examples: []any{"512B", "64MiB"}}
	case t == reflect.TypeFor[result.CheckVerdict]():
		values := make([]any, len(result.CheckVerdicts))
		for i, v := range result.CheckVerdicts {
			values[i] = v
		}
		return &jsonschema.Schema{Type: "string", Enum: values}
	case t == reflect.TypeFor[result.Verdict]():
		return &jsonschema.Schema{Type: "string", Enum: []any{result.Pass, result.Fail, result.Inconclusive}}
	}
	return nil
}
