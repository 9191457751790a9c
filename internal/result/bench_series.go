package result

// WindowSample is one window of one arm.
type WindowSample struct {
	// Pair is the index that windows of all arms share, AtNS the start of the measured part, from the start of the bench.
	Pair int   `json:"pair"`
	AtNS int64 `json:"at_ns"`
	// Phase is the one that the percentiles are of: steady_rtt, or connect where the workload has no requests on open tunnels.
	Phase    string `json:"phase"`
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	P50NS    int64  `json:"p50_ns"`
	P99NS    int64  `json:"p99_ns"`
	MaxNS    int64  `json:"max_ns"`
	// DrainNS is how long after the end of the window work in flight was still waited for, before the next window began.
	DrainNS int64 `json:"drain_ns,omitempty"`
	// Excluded windows are in no distribution; Warmup ones come before the measurement, and Pair is -1.
	Excluded bool `json:"excluded,omitempty"`
	Warmup   bool `json:"warmup,omitempty"`
}

// Heat counts latencies by window and size: Rows[i] belongs to Series[i] and has, for each bucket that is not empty, its index in
// BoundsNS and its count. BoundsNS are upper bounds, ascending, the last without an end.
type Heat struct {
	BoundsNS []int64    `json:"bounds_ns"`
	Rows     [][][2]int `json:"rows"`
}

// Shard is one process that sent its part of the load.
type Shard struct {
	Index int    `json:"index"`
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	// Source is the address that it dialled from, empty for any.
	Source string `json:"source,omitempty"`
	// PlanSHA256 and BinarySHA256 are equal in all shards of a run; OffsetNS is how far its clock was from the coordinator's.
	PlanSHA256   string `json:"plan_sha256"`
	BinarySHA256 string `json:"binary_sha256"`
	OffsetNS     int64  `json:"offset_ns"`
	// Excluded are the windows that this shard made unusable for all.
	Excluded int `json:"excluded,omitempty"`
}
