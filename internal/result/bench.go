package result

// Bench is what the load generator measured.
type Bench struct {
	Workloads []Workload `json:"workloads"`
	Limits    []Limit    `json:"limits"`
	Validity  Validity   `json:"validity"`
}

// Workload is one kind of load on one backend, over every arm with the same schedule.
type Workload struct {
	Name        string       `json:"name"`
	Backend     string       `json:"backend"`
	Arms        []Arm        `json:"arms"`
	Comparisons []Comparison `json:"comparisons"`
	// Steps compare each arm with the one before it in the list, as a difference: for arms of one hop more each, what that hop adds.
	Steps []Step `json:"steps,omitempty"`
	// Windows is the number of measured windows per arm, WindowNS the length of each.
	Windows  int   `json:"windows"`
	WindowNS int64 `json:"window_ns"`
	// RatePerS and ConnectRatePerS are the planned arrivals a second of requests and of new tunnels; Arrival names the process.
	RatePerS        float64 `json:"rate_per_s"`
	ConnectRatePerS float64 `json:"connect_rate_per_s"`
	Arrival         string  `json:"arrival"`
	Log             string  `json:"log,omitempty"`
}

// Arm is one path under comparison.
type Arm struct {
	Path           string           `json:"path"`
	Requests       int64            `json:"requests"`
	Errors         int64            `json:"errors"`
	ThroughputPerS float64          `json:"throughput_per_s"`
	Phases         map[string]Phase `json:"phases"`
	// Upgrade is the upgrade type the dialer chose, empty for a direct path.
	Upgrade string `json:"upgrade,omitempty"`
	// ErrorSamples are a few of the errors, for a person.
	ErrorSamples []string `json:"error_samples,omitempty"`
	// Notes are what a reader of the figures should know and is no error of the target.
	Notes []string `json:"notes,omitempty"`
}

// The phases every report knows. A phase that an arm does not have is absent from its map.
const (
	PhaseTCP       = "tcp"        // TCP connect
	PhaseOuterTLS  = "outer_tls"  // TLS handshake with the load balancer
	PhaseUpgrade   = "upgrade"    // upgrade request to the 101
	PhaseInnerTLS  = "inner_tls"  // TLS handshake with the router or, passed through, the backend
	PhaseFirstByte = "first_byte" // a new tunnel ready to its first checked answer, the protocol's login included
	PhaseConnect   = "connect"    // intended start of a new tunnel to its first answer
	PhaseSteady    = "steady_rtt" // intended start of a request on an open tunnel to its answer
	PhaseService   = "service"    // the same request from when it was really sent
	PhaseLag       = "sched_lag"  // how late the generator itself was
)

// Phases lists the phases in the order in which a connection goes through them.
var Phases = []string{
	PhaseTCP, PhaseOuterTLS, PhaseUpgrade, PhaseInnerTLS, PhaseFirstByte, PhaseConnect, PhaseSteady, PhaseService, PhaseLag,
}

// Phase is the distribution of one phase on one arm, in nanoseconds, over all measured windows.
type Phase struct {
	Count  int64 `json:"count"`
	P50NS  int64 `json:"p50_ns"`
	P90NS  int64 `json:"p90_ns"`
	P99NS  int64 `json:"p99_ns"`
	P999NS int64 `json:"p999_ns"`
	MaxNS  int64 `json:"max_ns"`
	// Curve is the distribution for a percentile plot, ascending in both fields.
	Curve []Point `json:"curve,omitempty"`
}

// Point says that Quantile (0 to 1) of the samples took at most NS nanoseconds.
type Point struct {
	Quantile float64 `json:"q"`
	NS       int64   `json:"ns"`
}

// Comparison is one metric of one arm against the baseline arm, from windows paired in time.
type Comparison struct {
	Baseline  string `json:"baseline"`
	Candidate string `json:"candidate"`
	// Metric is "<phase>.<p50|p90|p99>".
	Metric string `json:"metric"`
	// Ratio is candidate over baseline: the Hodges-Lehmann estimate over pairs of windows.
	Ratio float64 `json:"ratio"`
	// CI95 is the 95 per cent interval of Ratio by paired bootstrap over windows.
	CI95 [2]float64 `json:"ci95"`
	// DeltaNS is the same as a difference.
	DeltaNS int64 `json:"delta_ns"`
	Pairs   int   `json:"pairs"`
	// PAdjusted is the two-sided p-value of "no difference", by the paired t test on log ratios, adjusted by Holm's method for
	// all comparisons of the workload.
	PAdjusted float64 `json:"p_adjusted"`
	// Verdict is "slower", "faster", "equivalent" or "inconclusive". A difference is claimed only when CI95 excludes 1 and
	// PAdjusted is below 0.05.
	Verdict string `json:"verdict"`
}

// Step is what one arm adds to the one before it, from windows paired in time.
type Step struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Metric is "connect.p50" or "steady_rtt.p50".
	Metric string `json:"metric"`
	// AddedNS is the Hodges-Lehmann estimate of the difference over pairs of windows, negative when To is the faster.
	AddedNS int64 `json:"added_ns"`
	// CI95NS is its 95 per cent interval by paired bootstrap over windows, for this one difference alone.
	CI95NS [2]int64 `json:"ci95_ns"`
	Pairs  int      `json:"pairs"`
}

// Limit is a condition the user set on the measurement.
type Limit struct {
	Expr string `json:"expr"`
	// Workload is where the value is the worst.
	Workload string  `json:"workload,omitempty"`
	Value    float64 `json:"value"`
	OK       bool    `json:"ok"`
	// Detail says what Value is, such as the upper bound of an interval.
	Detail string `json:"detail,omitempty"`
}

// Validity says whether the measurement may be believed at all.
type Validity struct {
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons"`
}
