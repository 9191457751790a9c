package scenario

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/document"
	"github.com/tlsroute/tlsroute-bench/scenarios"
)

// Vocabulary is what the acting rooms know beyond the schema. The loader asks it so that a name nobody knows is a fault of
// the file and not of a run half under way; a nil function accepts everything.
type Vocabulary struct {
	// Check answers whether a glob over check ids matches anything.
	Check func(glob string) error
	// Limit answers whether an expression can be judged on these arms.
	Limit func(expr string, arms []string) error
	// Workload says which option of a workload is at fault, by its path of field names, and why. given is false where its rates come
	// from elsewhere: a search, a closed loop, steps.
	Workload func(w Workload, given bool) (option []string, err error)
	// WorkloadKind answers which kind of backend a workload speaks to; "" for one that nobody knows.
	WorkloadKind func(name string) string
	// Topology says what the router and the load balancer would refuse.
	Topology func(*Scenario) []Problem
}

// Problem is something wrong at a place of the document: the path of field names and indices that leads there.
type Problem struct {
	At      []string
	Message string
}

// Load reads a scenario. The name of a file that does not exist is looked for among the embedded scenarios, with or
// without folder and ending, so that "run alb" works in any folder.
func Load(file string, v Vocabulary, overrides ...document.Override) (*Scenario, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		embedded, ok := scenarios.Find(file)
		if !ok || !os.IsNotExist(err) {
			return nil, fmt.Errorf("scenario: %w (built in: %s)", err, strings.Join(scenarios.Names(), ", "))
		}
		data = embedded
	}
	return Parse(file, data, v, overrides...)
}

// Parse is Load on bytes. Every fault is reported at once, as *document.Faults.
func Parse(file string, data []byte, v Vocabulary, overrides ...document.Override) (*Scenario, error) {
	var s Scenario
	d, err := document.Parse(file, data, scenarios.Schema, &s, overrides...)
	if d == nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	s.File, s.SHA256 = file, hex.EncodeToString(sum[:])
	s.fill()
	s.check(d, v)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return &s, nil
}

// Defaults that the schema documents.
const (
	DefaultRouterName  = "router.example.test"
	DefaultProfile     = "aws-alb"
	DefaultUpgradePath = "/webapi/connectionupgrade"
	DefaultPing        = Duration(30 * time.Second)
	DefaultPong        = Duration(5 * time.Minute)
	DefaultWindow      = Duration(500 * time.Millisecond)
	DefaultGuard       = Duration(100 * time.Millisecond)
	DefaultPairs       = 12
	DefaultTunnels     = 4
	DefaultWarmupMin   = Duration(time.Second)
	DefaultWarmupMax   = Duration(10 * time.Second)
	DefaultBudget      = Duration(time.Minute)
	DefaultP50         = Percent(0.02)
	DefaultP99         = Percent(0.05)
)

func (s *Scenario) fill() {
	r := &s.Topology.Router
	setDefault(&r.Name, DefaultRouterName)
	setDefault(&r.Upgrade.Path, DefaultUpgradePath)
	setDefault(&r.Upgrade.PingInterval, DefaultPing)
	setDefault(&r.Upgrade.PongTimeout, DefaultPong)
	if len(r.Upgrade.Types) == 0 {
		r.Upgrade.Types = []string{"websocket", "alpn", "alpn-ping"}
	}
	s.Topology.fill()
	for i := range s.Routes {
		setDefault(&s.Routes[i].ClientAuth, "none")
	}
	setDefault(&s.Bench.Window, DefaultWindow)
	setDefault(&s.Bench.Guard, DefaultGuard)
	setDefault(&s.Bench.Pairs, DefaultPairs)
	if len(s.Topology.Faults) > 0 && s.Bench.Warmup == nil {
		s.Bench.Warmup = &Warmup{Max: new(Duration)}
	}
	s.Bench.fillEnd()
	if len(s.Bench.Arms) == 0 {
		s.Bench.Arms = slices.Concat(s.Topology.Paths, s.Topology.PeerNames())
	}
	for i := range s.Bench.Workloads {
		w := &s.Bench.Workloads[i]
		setDefault(&w.Tunnels, DefaultTunnels)
		setDefault(&w.Arrival, "poisson")
		setDefault(&w.Mode, "open")
		for j := range w.Routes {
			setDefault(&w.Routes[j].Weight, 1)
		}
	}
}

// fillEnd fills in what comes before and ends a measurement.
func (b *Bench) fillEnd() {
	if b.Warmup == nil {
		b.Warmup = &Warmup{}
	}
	if b.Warmup.Max == nil {
		longest := max(DefaultWarmupMax, b.Warmup.Min)
		b.Warmup.Max = &longest
	}
	setDefault(&b.Warmup.Min, min(DefaultWarmupMin, *b.Warmup.Max))
	if b.Precision != nil {
		setDefault(&b.Precision.P50, DefaultP50)
		setDefault(&b.Precision.P99, DefaultP99)
		setDefault(&b.Budget, DefaultBudget)
	}
}

// checkLoad says what of the load contradicts itself.
func (b *Bench) checkLoad(fault func(path []any, format string, args ...any)) {
	if w := b.Warmup; *w.Max > 0 && w.Min > *w.Max || w.Min < 0 || *w.Max < 0 {
		fault([]any{"bench", "warmup", "min"}, "min %v is more than max %v", time.Duration(w.Min), time.Duration(*w.Max))
	}
	if b.Budget != 0 && b.Precision == nil {
		fault([]any{"bench", "budget"}, "a budget is for precision, and there is none: pairs is when to stop")
	}
	for i, l := range b.Levels {
		if l < 1 || l > 99 || slices.Contains(b.Levels[:i], l) {
			fault([]any{"bench", "levels", i}, "%d must be from 1 to 99 per cent and given once: at 100 latency is that of a queue without end", l)
		}
	}
	for i, w := range b.Workloads {
		switch closed := w.Mode == "closed"; {
		case closed && (w.Rate > 0 || w.ConnectRate > 0 || len(w.Steps) > 0):
			fault([]any{"bench", "workloads", i, "mode"}, "a closed loop has no rate, connect_rate or steps: the answers make the rate")
		case w.Rate > 0 && len(w.Steps) > 0:
			fault([]any{"bench", "workloads", i, "rate"}, "rate and steps are both given: steps are the rate")
		case !closed && w.Rate == 0 && w.ConnectRate == 0 && w.Burst == 0 && w.Name != "storm" && len(w.Steps) == 0 && len(b.Levels) == 0:
			fault([]any{"bench", "workloads", i}, "workload %q sends nothing: give rate, connect_rate or both", w.Name)
		}
		for k, s := range w.Steps {
			if s.For <= 0 {
				fault([]any{"bench", "workloads", i, "steps", k, "for"}, "a step takes more than no time")
			}
		}
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (s *Scenario) check(d *document.Document, v Vocabulary) {
	at := func(path ...any) []string {
		segments := make([]string, len(path))
		for i, p := range path {
			segments[i] = fmt.Sprint(p)
		}
		return segments
	}
	ask := func(f func(string) error, name string, path ...any) {
		if f == nil {
			return
		}
		if err := f(name); err != nil {
			d.Faultf(at(path...), "%s", err)
		}
	}
	kinds := map[string]string{}
	for _, b := range s.Backends {
		kinds[b.Name] = b.Kind
	}
	delete(kinds, "")
	s.Topology.check(func(path []any, format string, args ...any) { d.Faultf(at(path...), format, args...) }, kinds)
	s.Topology.checkProcesses(func(path []any, format string, args ...any) { d.Faultf(at(path...), format, args...) })
	s.Topology.checkPeers(func(path []any, format string, args ...any) { d.Faultf(at(path...), format, args...) }, kinds)
	s.Topology.checkFaults(func(path []any, format string, args ...any) { d.Faultf(at(path...), format, args...) }, kinds)
	backends := map[string]bool{}
	for i, b := range s.Backends {
		if b.Name != "" && backends[b.Name] {
			d.Faultf(at("backends", i, "name"), "two backends are called %q", b.Name)
		}
		backends[b.Name] = true
	}
	routes := map[string]bool{}
	for i, r := range s.Routes {
		if r.Name != "" && routes[r.Name] {
			d.Faultf(at("routes", i, "name"), "two routes are called %q", r.Name)
		}
		routes[r.Name] = true
		// Where a backend has lost its name to a fault, that is the fault.
		if r.Backend != "" && !backends[""] && len(backends) > 0 && !backends[r.Backend] {
			d.Faultf(at("routes", i, "backend"), "no backend is called %q (there are %s)", r.Backend, names(s.Backends, func(b Backend) string { return b.Name }))
		}
		if r.Mode == "passthrough" && r.ClientAuth != "none" {
			d.Faultf(at("routes", i, "client_auth"), "a passthrough route cannot ask for a client certificate: the backend ends TLS")
		}
		if r.Mode == "passthrough" && !slices.Contains([]string{"", "off", "starttls-postgres"}, r.BackendTLS) {
			d.Faultf(at("routes", i, "backend_tls"), "a passthrough route has no TLS of its own with the backend: off or starttls-postgres")
		}
	}
	for _, list := range []struct {
		name  string
		globs []string
	}{{"only", s.Conformance.Only}, {"skip", s.Conformance.Skip}} {
		for i, glob := range list.globs {
			ask(v.Check, glob, "conformance", list.name, i)
		}
	}
	for i, arm := range s.Bench.Arms {
		switch {
		case arm == "", slices.Contains(s.Topology.Paths, ""): // a path was lost to a fault, which has been reported
		case !slices.Contains(s.Topology.Paths, s.Bench.PathOf(arm)) && !slices.Contains(s.Topology.PeerNames(), s.Bench.PathOf(arm)):
			d.Faultf(at("bench", "arms", i), "arm %q is not in topology.paths (%s)", arm, strings.Join(slices.Concat(s.Topology.Paths, s.Topology.PeerNames()), ", "))
		case slices.Contains(s.Bench.Arms[:i], arm) && !slices.Equal(s.Bench.Arms, slices.Concat(s.Topology.Paths, s.Topology.PeerNames())): // else said of the paths
			d.Faultf(at("bench", "arms", i), "arm %q is given twice", arm)
		}
	}
	for _, arm := range slices.Sorted(maps.Keys(s.Bench.Again)) {
		if slices.Contains(s.Topology.Paths, arm) {
			d.Faultf(at("bench", "again", arm), "%q is a path of its own: an arm that takes another again needs a name of its own", arm)
		}
		if !slices.Contains(s.Bench.Arms, arm) {
			d.Faultf(at("bench", "again", arm), "%q is none of bench.arms", arm)
		}
	}
	for i, w := range s.Bench.Workloads {
		s.checkWorkload(w, v, func(path []any, format string, args ...any) {
			d.Faultf(at(append([]any{"bench", "workloads", i}, path...)...), format, args...)
		})
		for j, arm := range w.Arms {
			if arm != "" && !slices.Contains(s.Bench.Arms, arm) {
				d.Faultf(at("bench", "workloads", i, "arms", j), "arm %q is not in bench.arms (%s)", arm, strings.Join(s.Bench.Arms, ", "))
			} else if slices.Contains(w.Arms[:j], arm) {
				d.Faultf(at("bench", "workloads", i, "arms", j), "arm %q is given twice", arm)
			}
		}
	}
	s.Bench.checkLoad(func(path []any, format string, args ...any) { d.Faultf(at(path...), format, args...) })
	for i, expr := range s.Limits {
		if v.Limit == nil {
			break
		}
		if err := v.Limit(expr, s.Bench.Arms); err != nil {
			d.Faultf(at("limits", i), "%s", err)
		}
	}
	if v.Topology != nil {
		for _, p := range v.Topology(s) {
			d.Faultf(p.At, "%s", p.Message)
		}
	}
}

// checkWorkload reports the faults of a workload by their place in it.
func (s *Scenario) checkWorkload(w Workload, v Vocabulary, fault func(at []any, format string, args ...any)) {
	type use struct {
		route string
		at    []any
	}
	uses := []use{{w.Route, []any{"route"}}}
	switch {
	case len(w.Routes) > 0 && w.Route != "":
		fault([]any{"routes"}, "workload %q has route and routes: give one of them", w.Name)
	case len(w.Routes) > 0:
		uses = nil
		for i, r := range w.Routes {
			uses = append(uses, use{r.Route, []any{"routes", i, "route"}})
		}
	case w.Route == "":
		fault(nil, "workload %q leads nowhere: give route or routes", w.Name)
	}
	for _, u := range uses {
		if v.WorkloadKind != nil {
			if want, have := v.WorkloadKind(w.Name), s.kindBehind(u.route); want != "" && have != "" && have != want {
				fault(u.at, "workload %q speaks to a %s backend, but route %q leads to one of kind %s", w.Name, want, u.route, have)
			}
		}
		r, known := s.route(u.route)
		if u.route != "" && !known && len(s.Routes) > 0 && !slices.ContainsFunc(s.Routes, func(r Route) bool { return r.Name == "" }) {
			fault(u.at, "no route is called %q (there are %s)", u.route, names(s.Routes, func(r Route) string { return r.Name }))
		}
		if known && w.TLS.Mutual && r.ClientAuth != "require" {
			fault([]any{"tls", "mutual"}, "route %q does not require a certificate of the client: give it client_auth: require", u.route)
		}
	}
	if v.Workload != nil && w.Name != "" {
		if option, err := v.Workload(w, len(s.Bench.Levels) == 0 && w.Mode == "open" && len(w.Steps) == 0); err != nil {
			at := make([]any, len(option))
			for i, o := range option {
				at[i] = o
			}
			fault(at, "%s", err)
		}
	}
}

// route finds a route by its name.
func (s *Scenario) route(name string) (Route, bool) {
	for _, r := range s.Routes {
		if r.Name == name {
			return r, true
		}
	}
	return Route{}, false
}

// kindBehind is the kind of backend that a route leads to, empty when there is none.
func (s *Scenario) kindBehind(route string) string {
	for _, r := range s.Routes {
		for _, b := range s.Backends {
			if r.Name == route && b.Name == r.Backend {
				return b.Kind
			}
		}
	}
	return ""
}

func names[T any](list []T, name func(T) string) string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = name(e)
	}
	return strings.Join(out, ", ")
}
