package result

// Fault is an entry of the scenario's timeline of faults, and what came of it. Times count from the start of the bench.
type Fault struct {
	// AtNS is when it was to begin.
	AtNS int64 `json:"at_ns"`
	// Injected is false when the bench was over before that; InjectedNS is when it did begin.
	Injected   bool  `json:"injected"`
	InjectedNS int64 `json:"injected_ns,omitempty"`
	// Hop is where, as in Topology, or Backend is; Paths are those that have the hop, or lead to the backend.
	Hop     string   `json:"hop"`
	Backend string   `json:"backend,omitempty"`
	Paths   []string `json:"paths"`
	// Direction is up for what clients send, down for what comes back, empty for both.
	Direction string `json:"direction,omitempty"`
	Kind      string `json:"kind"`
	// Detail are its measures in words, such as "delay 20ms, for 1s".
	Detail string `json:"detail,omitempty"`
	// Seed decided what chance had a part in. It comes of the run's.
	Seed uint64 `json:"seed"`
	// Struck counts the connections that it ended, or a direction of; Strikes are the first of them.
	Struck  int      `json:"struck"`
	Strikes []Strike `json:"strikes,omitempty"`
}

// MaxStrikes bounds Fault.Strikes.
const MaxStrikes = 100

// Strike is the end of one connection by a fault.
type Strike struct {
	AtNS int64  `json:"at_ns"`
	Path string `json:"path"`
	// Direction is that which ended, empty for both.
	Direction string `json:"direction,omitempty"`
}
