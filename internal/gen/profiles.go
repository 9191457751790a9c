package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"

	"github.com/tlsroute/tlsroute-bench/albsim"
)

const profilesPage = "docs/profiles.md"

// knobComments are the comments of the fields of albsim's knob structs, by the field's name.
func knobComments(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "profile_*.go"))
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok || !strings.HasSuffix(spec.Name.Name, "Knobs") {
				return true
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					comments[name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			return false
		})
	}
	return comments, nil
}

// profilesTable is every knob of every profile as a page of the documentation.
func profilesTable(comments map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`# The load balancer profiles

Written by "make gen" from albsim/profile_*.go. A profile is what a product does where the simulator's configuration has no word for
it. Every value has a grade: D documented by the maker, O observed on the real product by a third party, S read in its source code,
I inferred, A assumed, unknown where nothing was found and the value is only a default. Sources are sections of the project's facts,
and the short names in them; a conflict between two of them stands beside the value that was taken.

| profile | what it is |
|---|---|
`)
	names := albsim.Profiles()
	var knobs []string // those of the default profile, and behind them what other kinds of balancers have
	values := map[string]map[string]albsim.Knob{}
	for _, name := range append([]string{albsim.DefaultProfile}, names...) {
		p, _ := albsim.LookupProfile(name)
		for _, k := range p.Knobs() {
			if values[k.Name] == nil {
				values[k.Name] = map[string]albsim.Knob{}
				knobs = append(knobs, k.Name)
			}
			values[k.Name][name] = k
		}
	}
	for _, name := range names {
		p, _ := albsim.LookupProfile(name)
		fmt.Fprintf(&b, "| %s | %s |\n", name, p.Description)
	}
	for _, knob := range knobs {
		comment := comments[knob]
		if comment == "" {
			return nil, fmt.Errorf("%s: the knob %s has no comment", profilesPage, knob)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| value | grade | source | profiles |\n|---|---|---|---|\n", knob, comment)
		with := map[albsim.Evidence]map[string][]string{}
		for _, name := range names {
			k, has := values[knob][name]
			if !has {
				continue
			}
			if with[k.Evidence] == nil {
				with[k.Evidence] = map[string][]string{}
			}
			with[k.Evidence][k.Value] = append(with[k.Evidence][k.Value], name)
		}
		for _, name := range names { // each row once, at its first profile
			k, has := values[knob][name]
			if !has {
				continue
			}
			if row := with[k.Evidence][k.Value]; row[0] == name {
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", shown(k.Value), k.Grade, k.Source, strings.Join(row, ", "))
			}
		}
	}
	return b.Bytes(), nil
}

// shown is a knob's value in a table.
func shown(value string) string {
	if value == "" {
		return "(empty)"
	}
	return "`" + value + "`"
}
