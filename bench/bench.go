// Package bench measures what a detour costs: the same load over two or more paths (arms), in turns, with an interval on the ratio.
//
// # Model
//
// The load is open loop: a seeded schedule of arrivals (Poisson or constant) decides when each request and each new tunnel
// is due, and nothing that the target does moves an arrival. Latency counts from that intended instant, so a target that
// freezes is charged with everything it kept waiting; what counts from the real send is a phase of its own ("service").
// Every workload is cut into windows; the arms take turns in blocks (ABBA or BAAB, chosen by the seed), and the windows of a
// pair have the same arrival instants. A guard, run but not recorded, goes before each window; work in flight is drained
// at its end. Comparisons pair the windows of one index (stats.go).
//
// In a closed loop (closed.go) each tunnel sends its next request when it has its answer. Windows, pairs and guards are the same,
// latency is that of service, and a slow target is asked less often: its freezes hide. result.Load says which of the two it was.
//
// The rate is given; or given in steps and ramps, of which the windows put side by side are the whole (profile.go); or a share of
// the slowest arm's capacity, which a closed loop with the same tunnels finds first (saturate.go), each level a measurement.
//
// Before the first pair the workload is sent until no arm's median drifts (warmup.go), and the measurement ends with its pairs, or
// when its intervals are narrow enough or its budget is over (precision.go). All windows, warm-up and those left out as well, are
// in the arm's series and heat map (series.go).
//
// # Phases
//
// The names are result.Phase…. dns, tcp, outer_tls, upgrade and inner_tls are reported by the arm's [Dial]; dns only where the address
// is a name. first_byte runs from
// the ready tunnel to the end of the first checked exchange, the protocol's login included, so that the phases of a new
// tunnel and the wait for the generator add up to connect, which runs from the intended start to that same end. steady_rtt
// and service are one request on an open tunnel, from intended and from really sent. close is of the tunnels that were opened and
// answered, from the goodbye to the peer's end (parting.go). sched_lag is how late the generator was.
//
// # What counts
//
// Requests are all arrivals of the measured windows, of both kinds, whatever became of them; failures in a guard, a warm-up or a
// search are added to Requests and Errors, for a failure is never hidden. A wrong answer is an error. What was not answered when the drain time
// was over is an error too, and recorded (censored) at the time it had waited. Other failures are not in the histograms.
//
// A pair of windows in which the generator itself was late or dropped arrivals is left out of the distributions and the
// comparisons on every arm; what happened to its requests counts, the arm's error samples say so, and the log has it
// under tags that begin with "excluded.", as it has the warm-up under "warmup.". When too many are left out, the measurement is not valid (validity.go).
//
// Sources: facts/performance.md sections 2 and 5; G. Tene on coordinated omission (wrk2); Kalibera and Jones, ISMM 2013.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// Dial opens one tunnel of an arm: TCP, outer TLS, upgrade and inner TLS, as far as the path has them. What it returns
// carries the service's plain bytes and honours deadlines. It calls observe for each phase that it went through, with the
// names result.PhaseDNS to result.PhaseInnerTLS, and no longer once it returned; observe is never nil. The context bounds
// the dialling only, not the life of the connection.
type Dial func(ctx context.Context, observe func(phase string, d time.Duration)) (net.Conn, error)

// Arm is one path under comparison.
type Arm struct {
	Path string
	Dial Dial
	// Mix are dial functions in the place of Dial, one for each of the workload's Mix.
	Mix []Dial
	// Upgrade tells, after the run, which upgrade type the dialer chose; nil or "" for none.
	Upgrade func() string
	// Peer says what the router of this arm is when it is not ours; see result.Arm.
	Peer string
	// Components are what the path goes through, for their costs.
	Components []Component
}

// Access is what a backend wants of a client.
type Access struct {
	User, Password, Database string
	// SSHKey is the client's key, HostKey the only host key that is accepted.
	SSHKey  ssh.Signer
	HostKey ssh.PublicKey
	// Witness is the name of the witness that the route leads to; empty takes any.
	Witness string
}

// WorkloadPlan is one kind of load over every arm. The first arm is the baseline.
type WorkloadPlan struct {
	Name    string // one of WorkloadNames
	Backend string
	Access  Access
	Arms    []Arm
	// Mode is ModeOpen, also when empty, or ModeClosed, which has no rates and is not affected by Plan.Levels.
	Mode string
	// Rate is the planned number of requests a second on open tunnels, ConnectRate of new tunnels; either may be 0, not both. With
	// Plan.Levels they are the mix, and both 0 is requests alone.
	Rate, ConnectRate float64
	// Steps are the rate of requests where it changes; Rate is then left 0. See steps.go for how they go over the windows.
	Steps []RateStep
	// Tunnels is the number of open tunnels that requests go round; 0 means 4.
	Tunnels int
	// Arrival is ArrivalPoisson, also when empty, or ArrivalConstant.
	Arrival string
	// Shape are the workload's own options.
	Shape Shape
	// Mix leads each new tunnel to one of several routes, chosen by weight and seed, the same in every arm; Access is then unused.
	Mix []Share

	closedConnects bool    // in a closed loop, clients open new tunnels; for the search (saturate.go)
	shift          float64 // of constant arrivals, in gaps (together.go)
	burst, tunnels int     // those of all processes, where there are several
}

// Plan is everything that is to be measured. Zero durations and counts mean the defaults below.
type Plan struct {
	Workloads []WorkloadPlan
	Window    time.Duration // measured slice, DefaultWindow
	Guard     time.Duration // run and not recorded before each, DefaultGuard
	Drain     time.Duration // how long work in flight is waited for at the end of a window, DefaultDrain
	Pairs     int           // windows per arm and workload, DefaultPairs
	Seed      int64
	Limits    []string
	// Levels are per cent of the slowest arm's capacity, which is then searched for first (saturate.go): each workload is measured
	// at each of them. Empty keeps the workloads' own rates.
	Levels []int
	// Warmup bounds what is sent before the measurement; nil means DefaultWarmupMin and DefaultWarmupMax.
	Warmup *Warmup
	// Precision lets a measurement go on beyond Pairs until it is precise enough; nil ends it with Pairs.
	Precision *Precision
	// Equivalence is δ: a ratio whose interval lies inside 1 ± δ is called equivalent. DefaultEquivalence.
	Equivalence float64
	// Shard of Shards is the part that this process sends; 0 of 0 is all of it. See together.go and Options.Barrier.
	Shard, Shards int

	maxLag   time.Duration // see validity.go; tests set it
	lagShare float64       // the same
}

// Defaults of a Plan.
const (
	DefaultWindow  = 500 * time.Millisecond
	DefaultGuard   = 100 * time.Millisecond
	DefaultDrain   = 3 * time.Second
	DefaultPairs   = 12
	DefaultTunnels = 4

	DefaultEquivalence = 0.03
)

// Options are the surroundings of a run; the zero value works.
type Options struct {
	// Log opens the interval log of that name ("<workload>.hlog"); nil writes none.
	Log func(name string) (io.WriteCloser, error)
	// Progress is called after each window with the windows done and planned, from the goroutine that called Run. Done is 0 during
	// search and warm-up.
	Progress func(workload string, done, total int)
	// Opening is called while the tunnels of an arm are opened, with how many are and are to be, from one goroutine at a time.
	Opening func(workload, path string, open, total int)
	// Partial is called between windows, at most once a second, with what a workload has so far: without comparisons, and its own from
	// then on. The label tells workloads of one name apart.
	Partial func(label string, w result.Workload)
	Logger  *slog.Logger // nil discards
	// Barrier is how processes that send parts of one plan keep together; nil for one alone.
	Barrier Barrier
}

// Run measures the plan, one workload after the other. The error is about the plan, about a log that could not be written,
// or ctx.Err(); the result is nil in the first case only. When ctx ends, Run stops what is under way, waits for it, and returns what
// had been measured in whole pairs of windows, marked as not valid. A target that fails is not an error but a result.
func Run(ctx context.Context, plan Plan, opt Options) (*result.Bench, error) {
	limits, err := plan.prepare()
	if err != nil {
		return nil, fmt.Errorf("bench plan: %w", err)
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	out := &result.Bench{Workloads: []result.Workload{}, Limits: []result.Limit{}, Equivalence: plan.Equivalence}
	gates := plan.preflight()
	why := reasons(gates)
	var errs []error
	spoiled := 0
	names := map[string]int{}
	for i := range plan.Workloads {
		if ctx.Err() != nil {
			break
		}
		w := &plan.Workloads[i]
		names[w.Name]++
		label := w.Name
		if n := names[w.Name]; n > 1 {
			label = fmt.Sprintf("%s-%d", w.Name, n)
		}
		runs := []*run{newRun(&plan, i, label, opt)}
		if plan.leveled(w) {
			var failed []string
			runs, failed = plan.search(ctx, w, label, opt)
			why = append(why, failed...)
		}
		for _, r := range runs {
			r.began = began
			err := r.measure(ctx)
			measured := r.result()
			out.Workloads = append(out.Workloads, measured)
			out.Costs = append(out.Costs, r.costs(measured.Arms)...)
			found := r.gates(&measured)
			gates, why = append(gates, found...), append(why, r.invalid(found)...)
			spoiled += r.spoiled
			if err != nil && ctx.Err() == nil {
				errs = append(errs, fmt.Errorf("bench %s: %w", r.label, err))
			}
		}
	}
	if err := ctx.Err(); err != nil {
		why = append(why, "the run was stopped before its end: "+context.Cause(ctx).Error())
		errs = append(errs, err)
	}
	if plan.Shards > 1 {
		out.Shards = []result.Shard{{Index: plan.Shard, Excluded: spoiled}}
	}
	for _, l := range limits {
		out.Limits = append(out.Limits, l.evaluate(out))
	}
	out.Validity = result.Validity{OK: len(why) == 0, Reasons: append([]string{}, why...), Gates: gates}
	return out, errors.Join(errs...)
}

// prepare fills the defaults in and says what is wrong, by field.
func (p *Plan) prepare() ([]*limit, error) {
	p.Workloads = slices.Clone(p.Workloads) // the caller's slice keeps its zeros
	setDefault(&p.Window, DefaultWindow)
	setDefault(&p.Guard, DefaultGuard)
	setDefault(&p.Drain, DefaultDrain)
	setDefault(&p.Pairs, DefaultPairs)
	setDefault(&p.Equivalence, DefaultEquivalence)
	setDefault(&p.maxLag, maxLag)
	setDefault(&p.lagShare, maxLagShare)
	switch {
	case p.Window < 0, p.Guard < 0, p.Drain < 0, p.Pairs < 0:
		return nil, errors.New("window, guard, drain and pairs must not be negative")
	case p.Shards < 0, p.Shard < 0, p.Shard > 0 && p.Shard >= p.Shards:
		return nil, fmt.Errorf("shard %d of %d: there is no such part", p.Shard, p.Shards)
	case !(p.Equivalence > 0 && p.Equivalence < 1):
		return nil, errors.New("equivalence must be between 0 and 1, such as 0.03 for 3 per cent")
	case len(p.Workloads) == 0:
		return nil, errors.New("workloads: there is none")
	}
	if err := errors.Join(p.prepareLevels(), p.prepareWarmup(), p.preparePrecision()); err != nil {
		return nil, err
	}
	var arms []string
	for i := range p.Workloads {
		w := &p.Workloads[i]
		if err := w.prepare(p.Guard+p.Window, len(p.Levels) > 0); err != nil {
			return nil, fmt.Errorf("workloads[%d]: %w", i, err)
		}
		w.share(p.Shard, p.Shards)
		for _, a := range w.Arms {
			if !slices.Contains(arms, a.Path) {
				arms = append(arms, a.Path)
			}
		}
	}
	return parseLimits(p.Limits, arms)
}

// prepare is given the length of a window with its guard, and whether the rates are searched for.
func (w *WorkloadPlan) prepare(length time.Duration, leveled bool) (err error) {
	setDefault(&w.Tunnels, DefaultTunnels)
	setDefault(&w.Arrival, ArrivalPoisson)
	setDefault(&w.Mode, ModeOpen)
	given := !leveled && w.Mode == ModeOpen && len(w.Steps) == 0
	if w.Shape, err = CheckShape(w.Name, w.Shape, w.Rate, w.ConnectRate, given); err != nil {
		return err
	}
	if w.Shape.Burst > 0 && w.ConnectRate == 0 { // one burst a window, in its middle
		w.ConnectRate, w.Arrival = float64(w.Shape.Burst)/length.Seconds(), ArrivalConstant
	}
	switch {
	case w.Arrival != ArrivalPoisson && w.Arrival != ArrivalConstant:
		return fmt.Errorf("arrival: %q is neither %s nor %s", w.Arrival, ArrivalPoisson, ArrivalConstant)
	case !(w.Rate >= 0) || !(w.ConnectRate >= 0) || w.Rate > maxRate || w.ConnectRate > maxRate:
		return fmt.Errorf("rate and connect_rate must be between 0 and %g a second", float64(maxRate))
	case w.Mode != ModeOpen && w.Mode != ModeClosed:
		return fmt.Errorf("mode: %q is neither %s nor %s", w.Mode, ModeOpen, ModeClosed)
	case w.Mode == ModeClosed && (w.Rate > 0 || w.ConnectRate > 0 || len(w.Steps) > 0):
		return errors.New("mode: a closed loop has no rate, connect_rate or steps: the answers make the rate")
	case w.Rate > 0 && len(w.Steps) > 0:
		return errors.New("rate and steps are both given: steps are the rate")
	case w.Mode == ModeOpen && w.Rate == 0 && w.ConnectRate == 0 && len(w.Steps) == 0 && !leveled:
		return errors.New("rate and connect_rate are both 0: there is nothing to send")
	case w.Tunnels < 0:
		return errors.New("tunnels must not be negative")
	case len(w.Arms) == 0:
		return errors.New("arms: there is none")
	}
	if err := w.prepareSteps(); err != nil {
		return err
	}
	if w.opens() { // where no rate is given, these are tunnels
		w.closedConnects = w.Mode == ModeClosed
		if leveled && w.Mode == ModeOpen {
			setDefault(&w.ConnectRate, 1)
		}
	}
	for i, a := range w.Arms {
		if a.Path == "" || strings.ContainsAny(a.Path, ", \r\n.") {
			return fmt.Errorf("arms[%d]: path %q must be a name without dots, commas and spaces", i, a.Path)
		}
		if slices.ContainsFunc(w.Arms[:i], func(b Arm) bool { return b.Path == a.Path }) {
			return fmt.Errorf("arms[%d]: %q is there twice", i, a.Path)
		}
	}
	return w.checkMix()
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
