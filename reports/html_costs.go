package reports

import (
	"slices"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// costView is what the components used of the machine under one workload. The bars are of the measure that most tell of it.
type costView struct {
	Workload, Measure            string
	Each                         []string // the columns of processor time by what was done that some row has
	Memory, Descriptors, Spliced bool
	Rows                         []costRow
}

type costRow struct {
	Path, Component, Product     string
	CPU, Kernel                  string
	Each                         []string
	Width, Label                 string // of the bar; empty without a figure
	Memory, Descriptors, Spliced string
	Look                         int
}

// costMeasures are processor time divided by what was done, the most telling first.
var costMeasures = []struct {
	name string
	of   func(result.Cost) float64
}{
	{"request", func(c result.Cost) float64 { return c.CPUPerRequestNS }},
	{"new tunnel", func(c result.Cost) float64 { return c.CPUPerConnectNS }},
	{"GiB", func(c result.Cost) float64 { return c.CPUPerGiBNS }},
}

func newCostViews(run *result.Run) (views []costView) {
	var order []string
	by := map[string][]result.Cost{}
	for _, c := range run.Bench.Costs {
		if !c.Process {
			continue
		}
		if by[c.Workload] == nil {
			order = append(order, c.Workload)
		}
		by[c.Workload] = append(by[c.Workload], c)
	}
	for _, name := range order {
		views = append(views, newCostView(run, name, by[name]))
	}
	return views
}

func newCostView(run *result.Run, name string, list []result.Cost) costView {
	v := costView{Workload: name, Measure: "processor time"}
	measure := func(c result.Cost) float64 { return float64(c.CPUNS) }
	var each []func(result.Cost) float64
	for _, m := range costMeasures {
		if slices.ContainsFunc(list, func(c result.Cost) bool { return m.of(c) > 0 }) {
			if len(each) == 0 {
				measure, v.Measure = m.of, "processor time a "+m.name
			}
			each, v.Each = append(each, m.of), append(v.Each, m.name)
		}
	}
	looks := map[string]int{}
	for _, w := range run.Bench.Workloads {
		for i, a := range w.Arms {
			if w.Name == name {
				looks[a.Path] = seriesLook(i)
			}
		}
	}
	most := 0.0
	for _, c := range list {
		most = max(most, measure(c))
		v.Memory = v.Memory || c.PSSBytes > 0
		v.Descriptors = v.Descriptors || c.Descriptors > 0
		v.Spliced = v.Spliced || c.SplicedBytes > 0 || c.CopiedBytes > 0
	}
	for _, c := range list {
		row := costRow{Path: c.Path, Component: c.Component, Product: c.Product, CPU: duration(c.CPUNS), Kernel: "–", Look: looks[c.Path], Memory: "–", Descriptors: "–", Spliced: "–"}
		if c.CPUNS > 0 {
			row.Kernel = significant(float64(c.SystemNS*100/c.CPUNS)) + " %"
		}
		for _, of := range each {
			text := "–"
			if ns := of(c); ns > 0 {
				text = duration(int64(ns))
			}
			row.Each = append(row.Each, text)
		}
		if m := measure(c); m > 0 {
			row.Width, row.Label = percent(m/most), c.Path+", "+c.Component+": "+duration(int64(m))
		}
		if c.PSSBytes > 0 {
			row.Memory = costMemory(c)
		}
		if c.Descriptors > 0 {
			row.Descriptors = costDescriptors(c)
		}
		if c.SplicedBytes > 0 || c.CopiedBytes > 0 {
			row.Spliced = size(c.SplicedBytes) + " and " + size(c.CopiedBytes)
		}
		v.Rows = append(v.Rows, row)
	}
	return v
}
