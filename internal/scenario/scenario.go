// Package scenario is what to run: the waist between what a person wrote and everything that acts on it.
//
// A scenario is a YAML file: topology, backends, routes, checks, load, limits. [Load] turns it into a [Scenario] or into
// every fault in it at once, each with file, line, column and the line itself; nothing is started on a fault. The types
// here name what a user may write; they import no room that acts.
package scenario

import "time"

// Scenario is one document under scenarios/.
type Scenario struct {
	// Name is used in reports and in the default output folder.
	Name string `json:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]*$"`
	// Description says in a sentence what the scenario shows.
	Description string      `json:"description,omitempty"`
	Topology    Topology    `json:"topology" jsonschema:"required"`
	Backends    []Backend   `json:"backends" jsonschema:"required,minItems=1"`
	Routes      []Route     `json:"routes" jsonschema:"required,minItems=1"`
	Conformance Conformance `json:"conformance,omitzero"`
	Matrix      *Matrix     `json:"matrix,omitempty"`
	Bench       Bench       `json:"bench,omitzero"`
	// Limits are conditions on the measurement; one that is missed ends the run with status 1.
	// Terms are ARM.PHASE.p50|p90|p99|p999|p9999|max (durations such as 5ms stand against them), ARM.throughput, ARM.bytes_per_s, errors and
	// requests, and with processes: separate what a component used for an arm: ARM.COMPONENT.cpu_per_connect, cpu_per_request or cpu_per_gib
	// (durations), bytes_per_tunnel or descriptors_per_tunnel.
	Limits []string `json:"limits,omitempty"`

	// File and SHA256 identify the document; they are set by Load.
	File   string `json:"-"`
	SHA256 string `json:"-"`
}

// Router configures the reference router of the lab.
type Router struct {
	// Name is the router's own name, for which it answers with its HTTP endpoint; router.example.test when empty.
	Name string `json:"name,omitempty"`
	// Listen is host:port; 127.0.0.1 with a free port when empty.
	Listen  string  `json:"listen,omitempty"`
	Upgrade Upgrade `json:"upgrade,omitzero"`
}

// Upgrade is the router's upgrade endpoint. The router that the checks are put to shares Path and Types with it and nothing else.
type Upgrade struct {
	// Path defaults to /webapi/connectionupgrade.
	Path string `json:"path,omitempty" jsonschema:"pattern=^/"`
	// Types defaults to websocket, alpn, alpn-ping, in the order in which a client tries them.
	Types []string `json:"types,omitempty" jsonschema:"minItems=1"`
	// PingInterval defaults to 30s.
	PingInterval Duration `json:"ping_interval,omitempty"`
	// PongTimeout defaults to 5m: a WebSocket client that answers no ping for so long is dead, unless a byte moves in either direction.
	PongTimeout Duration `json:"pong_timeout,omitempty"`
	// RequireConnection refuses custom tokens without "Connection: upgrade" with 400. A load balancer that strips the field, as aws-alb
	// does, then leaves websocket alone.
	RequireConnection bool `json:"require_connection,omitempty"`
}

// Backend is one service behind the router.
type Backend struct {
	Name string `json:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]*$"`
	// Kind is witness, postgres, mysql, ssh, http or kube.
	Kind string `json:"kind" jsonschema:"required"`
	// Driver overrides --backends for this one.
	Driver string `json:"driver,omitempty" jsonschema:"enum=embedded,enum=local,enum=container,enum=auto"`
	// Version asks for one of several servers of this machine, such as "17"; the driver local looks at it.
	Version string `json:"version,omitempty"`
	// Image asks for a container image, such as postgres:17; the driver container looks at it.
	Image string `json:"image,omitempty"`
	// Durable has a real database flush at commit, so that no crash undoes what it confirmed; without it faults that kill one may.
	Durable bool `json:"durable,omitempty"`
	// Config are lines of the real server's own configuration that go before the lab's, such as "RekeyLimit 1M" of ssh with the driver local.
	Config []string `json:"config,omitempty"`
}

// Route leads a name and an ALPN to a backend; fields as in the router's own configuration (DESIGN.md section 5).
type Route struct {
	Name string   `json:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]*$"`
	SNI  []string `json:"sni,omitempty"`
	ALPN []string `json:"alpn,omitempty"`
	// Mode is terminate or passthrough.
	Mode string `json:"mode" jsonschema:"required,enum=terminate,enum=passthrough"`
	// ClientAuth asks for a certificate of the lab's client CA: none, request or require.
	ClientAuth string `json:"client_auth,omitempty" jsonschema:"enum=none,enum=request,enum=require"`
	// Backend is the name of an entry of backends.
	Backend string `json:"backend" jsonschema:"required"`
	// SendProxy tells the backend the client's address in a PROXY header of that version; off when empty.
	SendProxy string `json:"send_proxy,omitempty" jsonschema:"enum=off,enum=v1,enum=v2"`
	// BackendTLS is spoken to the backend, which has a certificate of the lab's; off when empty. A passthrough route sends the client's own
	// TLS, and with starttls-postgres asks for it first.
	BackendTLS string `json:"backend_tls,omitempty" jsonschema:"enum=off,enum=on,enum=starttls-postgres,enum=starttls-mysql"`
}

// Matrix tries every client with every router over every path.
type Matrix struct {
	// Route that is asked for; it leads to a witness. The first such one when empty.
	Route string `json:"route,omitempty"`
	// Clients are our own by how it is told to go (auto, direct, websocket, alpn, alpn-ping), or others by a target file.
	Clients []Party `json:"clients" jsonschema:"required,minItems=1"`
	// Routers are ours, without a target file, and others.
	Routers []Party `json:"routers" jsonschema:"required,minItems=1"`
}

// Party is an implementation in a matrix.
type Party struct {
	Name string `json:"name" jsonschema:"required"`
	// Target is a target file, relative to the scenario.
	Target string `json:"target,omitempty"`
	// Optional cells do not fail the run.
	Optional bool `json:"optional,omitempty"`
}

// Conformance chooses the checks.
type Conformance struct {
	// Disabled turns the whole part off.
	Disabled bool `json:"disabled,omitempty"`
	// Only and Skip are globs over check ids and slugs; an unknown id is a fault.
	Only []string `json:"only,omitempty"`
	Skip []string `json:"skip,omitempty"`
	// UnderLoad is how many tunnels carry an echo a second each while a router is judged; 0, the default, is none.
	UnderLoad int `json:"under_load,omitempty" jsonschema:"minimum=0,maximum=9000"`
	// Levels limits the checks to these levels: MUST, SHOULD, MAY, INFO.
	Levels []string `json:"levels,omitempty" jsonschema:"enum=MUST,enum=SHOULD,enum=MAY,enum=INFO"`
}

// Bench is the load.
type Bench struct {
	// Disabled turns the whole part off.
	Disabled bool `json:"disabled,omitempty"`
	// Arms are the paths under comparison; the first is the baseline. Default: topology.paths, then topology.peers.
	Arms []string `json:"arms,omitempty"`
	// Again names arms that take the path of another, so that one path can be compared with itself: {direct-again: direct}.
	Again map[string]string `json:"again,omitempty"`
	// Window is the measured slice of time; Guard is run but not recorded before each. Defaults 500ms and 100ms.
	Window Duration `json:"window,omitempty"`
	Guard  Duration `json:"guard,omitempty"`
	// Pairs is the number of windows per arm and workload, interleaved in ABBA blocks. Default 12; fewer than 5 give no
	// interval.
	Pairs int `json:"pairs,omitempty" jsonschema:"minimum=5,maximum=10000"`
	// Levels are per cent, from 1 to 99, of the slowest arm's capacity, which is then searched for first, by a closed loop with the
	// workload's tunnels: each workload is measured at each of them, with rate and connect_rate as its mix. Workloads of a closed
	// loop, or with steps, are as they are. Empty, the default, sends at the workloads' own rates.
	Levels []int `json:"levels,omitempty"`
	// Warmup is sent before the measurement of each workload and level.
	Warmup *Warmup `json:"warmup,omitempty"`
	// Precision lets a measurement go on beyond pairs until the intervals are this narrow, or the budget is over.
	Precision *Precision `json:"precision,omitempty"`
	// Budget is the time of one workload at one level, for precision; it never cuts pairs short. Default 1m.
	Budget    Duration   `json:"budget,omitempty"`
	Workloads []Workload `json:"workloads,omitempty"`
	// Equivalence is δ: a ratio of two arms is called equivalent only when its 95 per cent interval lies inside 1 ± δ. Default 0.03.
	Equivalence float64 `json:"equivalence,omitempty" jsonschema:"exclusiveMinimum=0,maximum=0.5"`
}

// PathOf is the path that an arm takes: that of its name, unless it is one again.
func (b *Bench) PathOf(arm string) string {
	if path, ok := b.Again[arm]; ok {
		return path
	}
	return arm
}

// Warmup bounds the time before a measurement: it ends when no arm's median drifts over its last five windows.
type Warmup struct {
	// Min defaults to 1s, or max if that is less.
	Min Duration `json:"min,omitempty"`
	// Max defaults to 10s; 0s is no warm-up, and the default where topology.faults are played, whose times count from the start.
	Max *Duration `json:"max,omitempty"`
}

// Precision is half the width of the 95 per cent interval of the ratio to the baseline, of the workload's main phase: steady_rtt, or
// connect where it has no requests on open tunnels.
type Precision struct {
	// P50 defaults to 2%, P99 to 5%.
	P50 Percent `json:"p50,omitempty"`
	P99 Percent `json:"p99,omitempty"`
}

// Percent is a share written as 2% or 0.5%.
type Percent float64

// Workload is one kind of load over one route, or over several. An option that it does not have is a fault.
type Workload struct {
	// Name is a workload: echo, handshake, bulk and so on.
	Name string `json:"name" jsonschema:"required"`
	// Route is the name of an entry of routes.
	Route string `json:"route,omitempty"`
	// Routes are several, in place of route: each new tunnel goes to one of them, chosen by weight and seed, the same in every arm.
	Routes []RouteShare `json:"routes,omitempty"`
	// Mode is open (the default): a schedule says when to send, and latency counts from then. Or closed: each tunnel sends its next
	// request when it has its answer, latency is the time of service, and there are no rates.
	Mode string `json:"mode,omitempty" jsonschema:"enum=open,enum=closed"`
	// Rate is the planned number of requests a second on open tunnels, ConnectRate of new tunnels a second.
	Rate        float64 `json:"rate,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	ConnectRate float64 `json:"connect_rate,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// Steps are the rate of requests where it changes, instead of rate. A second of them is a second of measured time in each arm, so
	// that they take as many pairs of windows as they are long, whatever pairs says.
	Steps []Step `json:"steps,omitempty"`
	// Tunnels is the number of open tunnels that requests are spread over. Default 4. Each takes a descriptor here, and two or more in the
	// components that run in this process.
	Tunnels int `json:"tunnels,omitempty" jsonschema:"minimum=1,maximum=100000"`
	// Active is the percentage of the tunnels that carry requests; the others are idle, and asked once at the end. Default 100.
	Active float64 `json:"active,omitempty" jsonschema:"minimum=0,maximum=100"`
	// Arms of this workload alone; those of the bench when empty.
	Arms []string `json:"arms,omitempty"`
	// Arrival is poisson (the default) or constant.
	Arrival string `json:"arrival,omitempty" jsonschema:"enum=poisson,enum=constant"`
	// Burst is how many new tunnels are due at one instant; connect_rate counts tunnels. Storm has one burst a window without it.
	Burst int `json:"burst,omitempty" jsonschema:"minimum=1,maximum=512"`
	// Size is the payload of one round trip (echo).
	Size Size `json:"size,omitempty"`
	// Bytes is the payload of one transfer in each of its directions.
	Bytes Size `json:"bytes,omitempty"`
	// Direction of a transfer: up (from the client), down or duplex.
	Direction string `json:"direction,omitempty"`
	// ReadRate is how many bytes a second a slow reader takes, Queue how many the path may hold for it meanwhile.
	ReadRate Size `json:"read_rate,omitempty"`
	Queue    Size `json:"queue,omitempty"`
	// Variant of the protocol, such as simple or prepared for a database; select-only, tpcb, point-select and sftp need real servers.
	Variant string `json:"variant,omitempty"`
	// Streams is how many requests at once one tunnel carries, where the protocol can.
	Streams int         `json:"streams,omitempty" jsonschema:"minimum=1,maximum=1000"`
	TLS     WorkloadTLS `json:"tls,omitzero"`
}

// Step is a part of a changing rate.
type Step struct {
	// Rate is a second, To that at the end of the step, between them a straight line; rate when empty.
	Rate float64 `json:"rate" jsonschema:"required,minimum=0,maximum=1000000"`
	To   float64 `json:"to,omitempty" jsonschema:"minimum=0,maximum=1000000"`
	// For is how long the step takes.
	For Duration `json:"for" jsonschema:"required"`
}

// RouteShare is one of several routes of a workload.
type RouteShare struct {
	// Route is the name of an entry of routes.
	Route string `json:"route" jsonschema:"required"`
	// Weight is its share of the sum of all weights. Default 1.
	Weight int `json:"weight,omitempty" jsonschema:"minimum=1,maximum=1000000"`
}

// WorkloadTLS is what the innermost TLS session of each tunnel is to be. The report has what it was; where it was another, that is an error.
type WorkloadTLS struct {
	// Curve is the one key exchange group that is offered: X25519, P-256, P-384, P-521 or X25519MLKEM768.
	Curve string `json:"curve,omitempty"`
	// Resume takes up an earlier session by its ticket.
	Resume bool `json:"resume,omitempty"`
	// Mutual says that a certificate is shown: the route has client_auth: require.
	Mutual bool `json:"mutual,omitempty"`
}

// Size is a number of bytes, written with a unit: 512B, 64KiB, 64MiB, 1GiB.
type Size int64

// Duration is a time written as in Go: 500ms, 30s, 1m30s.
type Duration time.Duration
