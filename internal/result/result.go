// Package result is what happened in a run: the waist between doing and reporting.
//
// Everything a report shows is in a [Run], and a Run is stored as report.json before any report is derived from it. The
// fields named in DESIGN.md section 6 are a promise to readers outside: they are never renamed, retyped or dropped within
// one schema version; fields may be added. All durations are nanoseconds unless the name says otherwise, all times are
// RFC 3339 in UTC. The package imports the standard library only.
package result

import "time"

// Schema names the version of the data model; it changes when a promised field changes its meaning.
const Schema = "tlsroute-bench/report/1"

// Verdict is the answer of a whole run.
type Verdict string

// The verdicts of a run. A run that could not be judged is inconclusive, never a pass.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Run is one run of one scenario.
type Run struct {
	Schema   string   `json:"schema"`
	Run      Info     `json:"run"`
	Scenario Scenario `json:"scenario"`
	Verdict  Verdict  `json:"verdict"`
	// Reasons says in words what led to the verdict, the weightiest first.
	Reasons []string `json:"reasons"`
	// FailOnFlake is set when flaky checks were to fail the run.
	FailOnFlake bool `json:"fail_on_flake,omitempty"`
	// Partial is set when the run was interrupted: what follows is true as far as it goes.
	Partial  bool      `json:"partial"`
	Backends []Backend `json:"backends"`
	// LoadBalancers are those of the paths, each once.
	LoadBalancers []LoadBalancer `json:"load_balancers,omitempty"`
	Topology      []Path         `json:"topology"`
	Conformance   *Conformance   `json:"conformance,omitempty"`
	// Matrix is there when the scenario asks for one.
	Matrix *Matrix `json:"matrix,omitempty"`
	// Likeness says how far the simulator did, with the profiles of products, what the products themselves do.
	Likeness []Likeness `json:"likeness,omitempty"`
	Wire     []Wire     `json:"wire"`
	// WireSource says how Wire was read, in a sentence: a packet capture, or a tap in the process and why.
	WireSource string `json:"wire_source,omitempty"`
	// CaptureNotes are what a reader must know of the capture of the run, in sentences; none without one that is whole.
	CaptureNotes []string `json:"capture_notes,omitempty"`
	Bench        *Bench   `json:"bench,omitempty"`
	// Faults are what was made to go wrong while the bench ran, in the order of the scenario.
	Faults []Fault `json:"faults,omitempty"`
	// Artifacts are the files the run left beside the report, by their path relative to it.
	Artifacts []string `json:"artifacts,omitempty"`
}

// Info identifies a run and how to do it again.
type Info struct {
	ID       string    `json:"id"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Seed     int64     `json:"seed"`
	Version  string    `json:"version"`
	Commit   string    `json:"commit"`
	Host     Host      `json:"host"`
	// Command is the command line that repeats the run.
	Command []string `json:"command,omitempty"`
}

// Host is the machine a run was made on.
type Host struct {
	Name   string `json:"name"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel,omitempty"`
	CPU    string `json:"cpu,omitempty"`
	CPUs   int    `json:"cpus"`
	Memory int64  `json:"memory_bytes,omitempty"`
	Go     string `json:"go"`
}

// Scenario names the file a run was made from.
type Scenario struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	// Description is the scenario's own sentence about itself.
	Description string `json:"description,omitempty"`
}

// Backend is one service behind the router.
type Backend struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Driver  string `json:"driver"`
	Product string `json:"product"`
	Version string `json:"version"`
	// Image is what a container was made of, and ImageDigest the sha256 of exactly that: the registry's where there is one, else the engine's
	// own id of it.
	Image       string `json:"image,omitempty"`
	ImageDigest string `json:"image_digest,omitempty"`
	// ReadyMS is how long it took from the start to the first checked answer, in milliseconds.
	ReadyMS float64 `json:"ready_ms,omitempty"`
	// Note is what a reader must know to judge results on this backend, such as what an embedded protocol server does not do.
	Note string `json:"note,omitempty"`
}

// LoadBalancer is one product that stands on a path.
type LoadBalancer struct {
	// Name is that of the hops.
	Name string `json:"name"`
	// Driver is simulator, and Product its profile, or real.
	Driver  string `json:"driver"`
	Product string `json:"product"`
	Version string `json:"version,omitempty"`
	// Knobs are what a simulator's profile takes for granted of the product; none of a real one.
	Knobs []Knob `json:"knobs,omitempty"`
}

// Knob is one behaviour of a simulated product, and how sure it is.
type Knob struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Grade is one of [Grades].
	Grade  string `json:"grade"`
	Source string `json:"source"`
}

// Path is one way from the client to the router.
type Path struct {
	Name string `json:"name"`
	// Hops in order, such as "client->alb", "alb->router".
	Hops []Hop `json:"hops"`
	// TLSConnections is how many TLS sessions a connection over the path consists of, counted from the ClientHellos that were seen: one
	// that passes several hops unchanged is one session. 0 when nothing was seen.
	TLSConnections int `json:"tls_connections,omitempty"`
}

// Hop is one TCP connection of a path.
type Hop struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	TLS     bool   `json:"tls"`
}

// Wire is what the ClientHello of one hop carried.
type Wire struct {
	Path  string `json:"path"`
	Hop   string `json:"hop"`
	Route string `json:"route,omitempty"`
	// SNI is nil when the extension was absent.
	SNI *string `json:"sni" jsonschema:"oneof_type=string;null"`
	// ALPN is empty, never null, when the extension was absent.
	ALPN       []string `json:"alpn"`
	ClientCert bool     `json:"client_cert"`
	// Source is "capture" when read off the network interface, "tap" when seen inside this process.
	Source string `json:"source"`
	// SHA256 is the hash of the ClientHello handshake message, in hex.
	SHA256 string `json:"client_hello_sha256,omitempty"`
}

// CountTLS fills TLSConnections of every path from the ClientHellos in Wire. Where the routes of a path differ, the least counts.
func (r *Run) CountTLS() {
	for i := range r.Topology {
		p := &r.Topology[i]
		routes := map[string]int{}
		seen := map[[2]string]bool{} // route and hash
		for _, w := range r.Wire {
			if w.Path != p.Name {
				continue
			}
			key := [2]string{w.Route, w.SHA256}
			if w.SHA256 == "" || !seen[key] {
				routes[w.Route]++
			}
			seen[key] = true
		}
		p.TLSConnections = 0
		for _, n := range routes {
			if p.TLSConnections == 0 || n < p.TLSConnections {
				p.TLSConnections = n
			}
		}
	}
}
