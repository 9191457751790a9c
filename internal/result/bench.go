package result

// Bench is what the load generator measured.
type Bench struct {
	Workloads []Workload `json:"workloads"`
	Limits    []Limit    `json:"limits"`
	Validity  Validity   `json:"validity"`
	// Equivalence is δ: a ratio is called equivalent when its interval lies inside 1 ± δ.
	Equivalence float64 `json:"equivalence,omitempty"`
	// Costs are what the components and peers of the paths used of the machine meanwhile.
	Costs []Cost `json:"costs,omitempty"`
	// Against is the comparison with an earlier report; nil when none was asked for.
	Against *Against `json:"against,omitempty"`
	// Shards are the processes that sent the load, when it was more than this one.
	Shards []Shard `json:"shards,omitempty"`
}

// Workload is one kind of load on one backend, over every arm with the same schedule.
type Workload struct {
	Name string `json:"name"`
	// Label tells workloads of one name apart; what is said of a workload elsewhere in the report, as its costs are, goes by it. It is
	// absent from reports that are older.
	Label       string       `json:"label,omitempty"`
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
	// Load says how the rate came about; nil for a fixed one.
	Load *Load `json:"load,omitempty"`
	// Shape are the workload's own measures, in words a person reads: {"direction": "up", "bytes": "64 MiB"}.
	Shape map[string]string `json:"shape,omitempty"`
	// Tunnels is the number of open tunnels that requests go round, Active how many of them carry any.
	Tunnels int `json:"tunnels,omitempty"`
	Active  int `json:"active,omitempty"`
	// WarmupWindows were sent before the measured ones; WarmupSteady is false when they were given up before the slope was flat.
	WarmupWindows int  `json:"warmup_windows,omitempty"`
	WarmupSteady  bool `json:"warmup_steady,omitempty"`
	// StoppedBy says what ended the measurement: "pairs", "precision" or "budget".
	StoppedBy string `json:"stopped_by,omitempty"`
}

// Load says how the planned rate of a workload came about.
type Load struct {
	// Model is "open" or "closed". In a closed loop each tunnel sends when it has its answer, and latency is that of service.
	Model string `json:"model"`
	// Fraction is the planned share of CapacityPerS, the rate at which the slowest arm, SlowestArm, was saturated; 0 for a given rate.
	Fraction     float64            `json:"fraction,omitempty"`
	CapacityPerS map[string]float64 `json:"capacity_per_s,omitempty"`
	SlowestArm   string             `json:"slowest_arm,omitempty"`
	// Steps are the rates in their order, each for a time, where the rate changes; From and To differ in a ramp.
	Steps []RateStep `json:"steps,omitempty"`
}

// RateStep is a part of a window's plan: the rate goes from FromPerS to ToPerS within NS.
type RateStep struct {
	FromPerS float64 `json:"from_per_s"`
	ToPerS   float64 `json:"to_per_s"`
	NS       int64   `json:"ns"`
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
	// Late are arrivals that went off after the end of their window, Dropped those never sent, Censored those not answered within the drain
	// time: the last two are errors, and the last is in the distribution at the time it had waited.
	Late     int64 `json:"late,omitempty"`
	Dropped  int64 `json:"dropped,omitempty"`
	Censored int64 `json:"censored,omitempty"`
	// Bytes of payload that were moved and compared, in both directions, and how many of them a second of transfer.
	Bytes     int64   `json:"bytes,omitempty"`
	BytesPerS float64 `json:"bytes_per_s,omitempty"`
	// TLS is what was negotiated in the innermost session, such as {"version": "TLS 1.3", "curve": "X25519MLKEM768", "resumed": "no"}.
	TLS map[string]string `json:"tls,omitempty"`
	// Peer is the router of this arm when it is not ours: product, version and how it is tuned.
	Peer string `json:"peer,omitempty"`
	// Series are the windows in order of time, Heat the same as a map of latencies.
	Series []WindowSample `json:"series,omitempty"`
	Heat   *Heat          `json:"heat,omitempty"`
	// ErrorSamples are a few of the errors, for a person.
	ErrorSamples []string `json:"error_samples,omitempty"`
	// Notes are what a reader of the figures should know and is no error of the target.
	Notes []string `json:"notes,omitempty"`
}

// The phases every report knows. A phase that an arm does not have is absent from its map.
const (
	PhaseDNS       = "dns"        // the name of the path's address, where it has one
	PhaseTCP       = "tcp"        // TCP connect
	PhaseOuterTLS  = "outer_tls"  // TLS handshake with the load balancer
	PhaseUpgrade   = "upgrade"    // upgrade request to the 101
	PhaseInnerTLS  = "inner_tls"  // TLS handshake with the router or, passed through, the backend
	PhaseFirstByte = "first_byte" // a new tunnel ready to its first checked answer, the protocol's login included
	PhaseConnect   = "connect"    // intended start of a new tunnel to its first answer
	PhaseSteady    = "steady_rtt" // intended start of a request on an open tunnel to its answer
	PhaseService   = "service"    // the same request from when it was really sent
	PhaseClose     = "close"      // from the goodbye on an open tunnel to the peer's end of it
	PhaseLag       = "sched_lag"  // how late the generator itself was
)

// Phases lists the phases in the order in which a connection goes through them.
var Phases = []string{
	PhaseDNS, PhaseTCP, PhaseOuterTLS, PhaseUpgrade, PhaseInnerTLS, PhaseFirstByte, PhaseConnect, PhaseSteady, PhaseService, PhaseClose, PhaseLag,
}

// Phase is the distribution of one phase on one arm, in nanoseconds, over all measured windows.
type Phase struct {
	Count  int64 `json:"count"`
	P50NS  int64 `json:"p50_ns"`
	P90NS  int64 `json:"p90_ns"`
	P99NS  int64 `json:"p99_ns"`
	P999NS int64 `json:"p999_ns"`
	MaxNS  int64 `json:"max_ns"`
	// P9999NS is absent where the sample is too small for it.
	P9999NS int64 `json:"p9999_ns,omitempty"`
	// CI95NS are the 95 per cent intervals of the percentiles, by name ("p50" … "p9999"), Needs how many samples a percentile lacks
	// before it means anything; a percentile is in one of the two.
	CI95NS map[string][2]int64 `json:"ci95_ns,omitempty"`
	Needs  map[string]int64    `json:"needs,omitempty"`
	// Curve is the distribution for a percentile plot, ascending in both fields.
	Curve []Point `json:"curve,omitempty"`
}

// Point says that Quantile (0 to 1) of the samples took at most NS nanoseconds.
type Point struct {
	Quantile float64 `json:"q"`
	NS       int64   `json:"ns"`
	// LoNS and HiNS are the order-statistic interval of NS at 95 per cent, absent where the sample has none.
	LoNS int64 `json:"lo_ns,omitempty"`
	HiNS int64 `json:"hi_ns,omitempty"`
}

// Comparison is one metric of one arm against the baseline arm, from windows paired in time.
type Comparison struct {
	Baseline  string `json:"baseline"`
	Candidate string `json:"candidate"`
	// Metric is "<phase>.<p50|p90|p99>", or "bytes_per_s", or of a closed loop "throughput", of which more is better.
	Metric string `json:"metric"`
	// Ratio is candidate over baseline: the Hodges-Lehmann estimate over pairs of windows.
	Ratio float64 `json:"ratio"`
	// CI95 is the 95 per cent interval of Ratio by paired bootstrap over windows.
	CI95 [2]float64 `json:"ci95"`
	// DeltaNS is the same as a difference; 0 for a rate.
	DeltaNS int64 `json:"delta_ns"`
	Pairs   int   `json:"pairs"`
	// PAdjusted is the two-sided p-value of "no difference", by Wilcoxon's signed-rank test on log ratios, adjusted by Holm's method
	// for all comparisons of the workload.
	PAdjusted float64 `json:"p_adjusted"`
	// NeedsPairs is how many pairs are lacking before the test could claim any difference, however large: with n pairs the least
	// p-value there is is 2/2ⁿ, before Holm's correction.
	NeedsPairs int `json:"needs_pairs,omitempty"`
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
	// Gates are all conditions that were looked at, those that hold too.
	Gates []Gate `json:"gates,omitempty"`
}

// Gate is one condition of a measurement that may be believed.
type Gate struct {
	Name string `json:"name"`
	// Workload and Path are empty for what concerns the whole run, or every arm.
	Workload string `json:"workload,omitempty"`
	Path     string `json:"path,omitempty"`
	// Value and Limit are in Unit: "ratio", "ns", "count".
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Unit  string  `json:"unit"`
	OK    bool    `json:"ok"`
	// Advisory gates are shown and do not make a measurement invalid.
	Advisory bool   `json:"advisory,omitempty"`
	Detail   string `json:"detail,omitempty"`
}
