package strength

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Count says how many faults were noticed by all of their checks that could be run, by some, by none, and how many could not be
// measured.
func (r *Report) Count() (all, some, none, unmeasured int) {
	for _, row := range r.Rows {
		switch {
		case !row.Measured():
			unmeasured++
		case row.Unnoticed():
			none++
		case len(row.Missed) > 0:
			some++
		default:
			all++
		}
	}
	return all, some, none, unmeasured
}

// WriteText writes a line a fault, and the counts at the end.
func (r *Report) WriteText(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tNOTICED BY\tNOT BY\tWHAT IT DOES")
	for _, row := range r.Rows {
		noticed := words(row.Noticed)
		if !row.Measured() {
			noticed = "not measured"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.Fault.Name, noticed, words(row.Missed), row.Fault.About)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	all, some, none, unmeasured := r.Count()
	_, err := fmt.Fprintf(out, "\n%d faults before %s: %d noticed by all of their checks, %d by some, %d by none; %d not measured, since none of their checks passes without the fault\n",
		len(r.Rows), r.Target, all, some, none, unmeasured)
	return err
}

func words(ids []string) string {
	if len(ids) == 0 {
		return "-"
	}
	return strings.Join(ids, " ")
}

// WriteJSON writes an object a fault, in an array.
func (r *Report) WriteJSON(out io.Writer) error {
	type row struct {
		Fault   string   `json:"fault"`
		About   string   `json:"about"`
		Layer   Layer    `json:"layer"`
		Noticed []string `json:"noticed"`
		Missed  []string `json:"missed"`
		Absent  []string `json:"absent"`
		How     []string `json:"how"`
	}
	rows := []row{}
	for _, r := range r.Rows {
		rows = append(rows, row{
			r.Fault.Name, r.Fault.About, r.Fault.Layer, append([]string{}, r.Noticed...), append([]string{}, r.Missed...),
			append([]string{}, r.Absent...), append([]string{}, r.How...),
		})
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Target string `json:"target"`
		Faults []row  `json:"faults"`
	}{r.Target, rows})
}
