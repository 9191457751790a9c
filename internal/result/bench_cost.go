package result

import "fmt"

// Cost is what one component of the paths used of the machine while one workload was sent over one arm.
type Cost struct {
	// Component is its name in the topology or a peer's, such as "router", "alb", "haproxy"; Product says what it is.
	Component string `json:"component"`
	Product   string `json:"product,omitempty"`
	Workload  string `json:"workload"`
	Path      string `json:"path"`
	// Process is false where the component runs inside the load generator's process: then nothing below is known of it alone.
	Process bool `json:"process"`
	// CPUNS is processor time in the measured windows of the arm, each from the end of its guard to the end of its drain, of which SystemNS in
	// the kernel, in ticks of 10 ms; Per… divide it by what the arm did: payload in GiB, new tunnels, requests. Where windows had both new
	// tunnels and requests nobody can tell whose it was, and neither is there.
	CPUNS           int64   `json:"cpu_ns,omitempty"`
	SystemNS        int64   `json:"system_ns,omitempty"`
	CPUPerGiBNS     float64 `json:"cpu_per_gib_ns,omitempty"`
	CPUPerConnectNS float64 `json:"cpu_per_connect_ns,omitempty"`
	CPUPerRequestNS float64 `json:"cpu_per_request_ns,omitempty"`
	// PSSBytes and Descriptors are of the whole process at the end of the workload; Per… of one more open tunnel, from before and after the
	// opening of the workload's. Memory is told for 100 tunnels or more, and what an earlier workload left is used again.
	PSSBytes             int64   `json:"pss_bytes,omitempty"`
	Descriptors          int     `json:"descriptors,omitempty"`
	BytesPerTunnel       float64 `json:"bytes_per_tunnel,omitempty"`
	DescriptorsPerTunnel float64 `json:"descriptors_per_tunnel,omitempty"`
	// SplicedBytes were moved inside the kernel, CopiedBytes through the process, where the component counts them, over the windows
	// with their guards.
	SplicedBytes int64 `json:"spliced_bytes,omitempty"`
	CopiedBytes  int64 `json:"copied_bytes,omitempty"`
}

// Against compares a run with an earlier one, window noise of both included.
type Against struct {
	// Run, Started and Commit are of the earlier report.
	Run     string `json:"run"`
	Started string `json:"started"`
	Commit  string `json:"commit,omitempty"`
	// SameHost is whether both were made on the same machine, as far as its name, processor and memory tell.
	SameHost bool `json:"same_host,omitempty"`
	// Threshold is what a change must exceed besides its noise to fail the run: 0.1 for 10 per cent.
	Threshold float64  `json:"threshold,omitempty"`
	Changes   []Change `json:"changes"`
}

// Change is one metric of one arm now and then.
type Change struct {
	Workload string `json:"workload"`
	Path     string `json:"path"`
	// Metric is "<phase>.<percentile>", or "ratio <phase>.<percentile>" for that of a candidate over its baseline arm, which a slower
	// machine moves less.
	Metric string     `json:"metric"`
	Ratio  float64    `json:"ratio"` // now over then
	CI95   [2]float64 `json:"ci95"`
	// PAdjusted is the two-sided p-value of "no change", adjusted by Holm's method for all changes of the run.
	PAdjusted float64 `json:"p_adjusted,omitempty"`
	// Verdict is "slower", "faster", "equivalent" or "inconclusive".
	Verdict string `json:"verdict"`
	// Regression is slower beyond the noise of both runs and beyond the threshold: it fails the run.
	Regression bool `json:"regression,omitempty"`
}

// regressions are the changes that fail a run, in words.
func (a *Against) regressions() []string {
	if a == nil {
		return nil
	}
	var out []string
	for _, c := range a.Changes {
		if c.Regression {
			out = append(out, fmt.Sprintf("slower than in run %s: %s, %s, %s is %.2f times what it was (95 %% interval %.2f to %.2f)",
				a.Run, c.Workload, c.Path, c.Metric, c.Ratio, c.CI95[0], c.CI95[1]))
		}
	}
	return out
}
