package reports

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// ListItem is a stored run in a list of runs.
type ListItem struct {
	// Dir is the folder of the run, below that of the list, with slashes.
	Dir string
	// Fault says why its report cannot be shown; the rest but Started is then empty.
	Fault    string
	Scenario string
	Verdict  result.Verdict
	Headline string
	Started  time.Time
	Took     string
	Version  string
}

// NewListItem takes from a run what a list says of it.
func NewListItem(dir string, run *result.Run) ListItem {
	return ListItem{
		Dir: dir, Scenario: run.Scenario.Name, Verdict: run.Verdict, Headline: headline(run), Started: run.Run.Started, Took: took(run), Version: run.Run.Version,
	}
}

// Link is the address of the run's page, from that of the list.
func (i ListItem) Link() string {
	if i.Dir == "." {
		return "runs/report.html"
	}
	return (&url.URL{Path: "runs/" + i.Dir + "/report.html"}).EscapedPath()
}

// WriteList writes the page of a folder of runs: each with a link to its page, and a form that compares those which are ticked. Cut says
// that there are more. Addresses are relative to the page.
func WriteList(w io.Writer, items []ListItem, cut bool) error {
	var buf bytes.Buffer
	err := page().ExecuteTemplate(&buf, "list.gohtml", struct {
		CSS   template.CSS
		Items []ListItem
		Cut   bool
	}{style, items, cut})
	if err != nil {
		return fmt.Errorf("render the list of runs: %w", err)
	}
	return writeAll(w, buf.Bytes(), "the list of runs")
}

// WriteComparePage writes compare.html.
func WriteComparePage(w io.Writer, c *Compared) error { return writeCompareHTML(w, c) }
