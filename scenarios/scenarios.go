// Package scenarios holds the scenario files that people run and copy, and the JSON Schema they follow. They are embedded,
// so that the binary alone is enough for a first run.
package scenarios

import (
	"embed"
	"path"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Schema is the JSON Schema (draft 2020-12) of a scenario, generated from internal/scenario by go generate.
//
//go:embed schema/scenario.json
var Schema []byte

// RouterSchema is that of the router's configuration, generated from refimpl/router.
//
//go:embed schema/router.json
var RouterSchema []byte

// ALBSchema is that of the simulator's configuration, generated from albsim.
//
//go:embed schema/alb.json
var ALBSchema []byte

// TargetSchema is that of a target file, generated from internal/stranger.
//
//go:embed schema/target.json
var TargetSchema []byte

// Names lists the embedded scenarios without their ending.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("scenarios: " + err.Error()) // the folder is embedded
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Find returns an embedded scenario by its name or by a path that ends in it: alb, alb.yaml, scenarios/alb.yaml.
func Find(file string) ([]byte, bool) {
	if dir := path.Dir(file); dir != "." && dir != "scenarios" {
		return nil, false
	}
	data, err := files.ReadFile(strings.TrimSuffix(path.Base(file), ".yaml") + ".yaml")
	return data, err == nil
}
