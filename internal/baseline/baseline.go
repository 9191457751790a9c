// Package baseline reads the failures of a target that are known, so that a gate tells what is new from what is not. A target file
// names one, and --baseline gives one for a run:
//
//	known:
//	  - id: TLS-02
//	    path: alb-*          # a glob over the names of paths; every path when left out
//	    reason: answers with a FIN where an alert is asked for
//	    link: https://example.test/issues/7
//	    expires: 2027-03-01  # the first day on which it is a failure again
//
// What is listed and fails is XFAIL. What is listed and passes is XPASS, and fails the run: the entry is out of date.
package baseline

import (
	_ "embed"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/internal/document"
)

// File is a baseline as it is written.
type File struct {
	Known []Entry `json:"known" jsonschema:"required"`
}

// Entry is one failure that is known.
type Entry struct {
	// ID of the check, such as DET-05. It is no glob: each failure has been looked at.
	ID string `json:"id" jsonschema:"required,minLength=1"`
	// Path is a glob over the names of paths, such as alb-*. Every path when left out.
	Path string `json:"path,omitempty"`
	// Reason says why it fails, in a sentence.
	Reason string `json:"reason" jsonschema:"required,minLength=1"`
	// Link is where that is dealt with.
	Link string `json:"link,omitempty" jsonschema:"pattern=^https?://"`
	// Expires is the first day on which it is a failure again, such as 2027-03-01, in UTC. Never when left out.
	Expires string `json:"expires,omitempty" jsonschema:"pattern=^[0-9]{4}-[0-9]{2}-[0-9]{2}$"`
}

// Schema is the JSON Schema of a baseline.
//
//go:embed schema/baseline.json
var Schema []byte

// Load reads a baseline. Every fault is reported at once, with its place, as *document.Faults; an id that no check has is one.
func Load(file string) ([]conformance.Known, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return Parse(file, data, conformance.Checks())
}

// Parse is Load on bytes, and on any catalogue.
func Parse(file string, data []byte, catalogue []conformance.Check) ([]conformance.Known, error) {
	var f File
	d, err := document.Parse(file, data, Schema, &f)
	if d == nil {
		return nil, err
	}
	ids := map[string]string{} // by what people may write
	for _, c := range catalogue {
		ids[strings.ToLower(c.ID)], ids[c.Slug] = c.ID, c.ID
	}
	var known []conformance.Known
	seen := map[[2]string]bool{}
	for i, e := range f.Known {
		at := func(field string) []string { return []string{"known", fmt.Sprint(i), field} }
		switch id := ids[strings.ToLower(e.ID)]; id {
		case e.ID: // none at all too, of which the schema has said what is wrong
		case "":
			d.Faultf(at("id"), "there is no check %q: see tlsroute-bench checks list", e.ID)
		default:
			d.Faultf(at("id"), "there is no check %q: the id is %s", e.ID, id)
		}
		if _, err := path.Match(e.Path, ""); err != nil {
			d.Faultf(at("path"), "%q is no pattern: %v", e.Path, err)
		}
		if key := [2]string{e.ID, e.Path}; seen[key] {
			d.Faultf(at("id"), "%s is listed twice for the same paths", e.ID)
		} else {
			seen[key] = true
		}
		k := conformance.Known{Check: e.ID, Path: e.Path, Reason: e.Reason, Link: e.Link}
		if e.Expires != "" {
			if k.Expires, err = time.Parse(time.DateOnly, e.Expires); err != nil {
				d.Faultf(at("expires"), "%q is no day: want one such as 2027-03-01", e.Expires)
			}
		}
		known = append(known, k)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return known, nil
}
