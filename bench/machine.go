package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// machine is what a workload had of the machine while it was measured.
type machine struct {
	cpu      float64 // share of the processors that Go may use, by this process
	steal    float64 // share of the machine's time that its host gave to others
	hasCPU   bool
	hasSteal bool
}

// watch looks now and when the function returned is called.
func (m *machine) watch() (stop func()) {
	began, cpu, hasCPU := time.Now(), time.Duration(0), false
	cpu, hasCPU = processorTime()
	stolen, total := stealTime()
	return func() {
		if now, ok := processorTime(); ok && hasCPU {
			m.hasCPU, m.cpu = true, float64(now-cpu)/float64(time.Since(began))/float64(runtime.GOMAXPROCS(0))
		}
		if s, t := stealTime(); t > total {
			m.hasSteal, m.steal = true, float64(s-stolen)/float64(t-total)
		}
	}
}

func (m *machine) gates(label string) []result.Gate {
	var out []result.Gate
	if m.hasCPU {
		out = append(out, atMost(result.Gate{
			Name: "generator_cpu", Workload: label, Unit: "ratio",
			Detail: fmt.Sprintf("the process used %.0f %% of its %d processors, with all of the topology that runs inside it; %.0f %% leaves room",
				100*m.cpu, runtime.GOMAXPROCS(0), 100*quietCPU),
		}, m.cpu, quietCPU, never))
	}
	if m.hasSteal {
		out = append(out, atMost(result.Gate{
			Name: "cpu_steal", Workload: label, Unit: "ratio",
			Detail: fmt.Sprintf("%.1f %% of the machine's time went to its host's other guests; %.0f %% is quiet", 100*m.steal, 100*quietSteal),
		}, m.steal, quietSteal, never))
	}
	return out
}

// stealTime is from the first line of /proc/stat, in ticks; 0 of 0 where there is none.
func stealTime() (steal, total uint64) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	return parseSteal(string(data))
}

// parseSteal reads "cpu user nice system idle iowait irq softirq steal …" (proc(5)); guest time is in user time already.
func parseSteal(text string) (steal, total uint64) {
	line, _, _ := strings.Cut(text, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0
	}
	for i, v := range f[1:9] {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return 0, 0
		}
		total += n
		if i == 7 {
			steal = n
		}
	}
	return steal, total
}

// preflight looks at what the plan needs of the machine before anything is sent. Only descriptors make a measurement wrong: without
// them tunnels fail that the target would have taken.
func (p *Plan) preflight() []result.Gate {
	var descriptors, ports, tunnels float64
	for i := range p.Workloads {
		w := &p.Workloads[i]
		open := 0.0
		if w.Rate > 0 {
			open = float64(w.Tunnels)
		}
		tunnels = max(tunnels, open*float64(len(w.Arms)))
		descriptors = max(descriptors, open*float64(len(w.Arms))+min(maxConnects, w.ConnectRate*p.Drain.Seconds())+64)
		ports = max(ports, open+60*w.ConnectRate) // a port rests for a minute
	}
	var out []result.Gate
	if n, ok := openFiles(); ok {
		out = append(out, atLeast(result.Gate{
			Name: "nofile", Unit: "count",
			Detail: fmt.Sprintf("%.0f descriptors may be open, the load alone needs %.0f: raise ulimit -n", float64(n), descriptors),
		}, float64(n), descriptors, descriptors))
	}
	if f := strings.Fields(readLine("/proc/sys/net/ipv4/ip_local_port_range")); len(f) == 2 {
		lo, _ := strconv.Atoi(f[0])
		hi, _ := strconv.Atoi(f[1])
		out = append(out, atLeast(result.Gate{
			Name: "port_range", Unit: "count",
			Detail: fmt.Sprintf("%d ports to dial from, a minute of new tunnels takes %.0f", hi-lo+1, ports),
		}, float64(hi-lo+1), ports, -never))
	}
	const readings = 1000
	began := time.Now()
	for range readings {
		_ = time.Now()
	}
	clock := time.Since(began) / readings
	source := readLine("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	out = append(out, atMost(result.Gate{
		Name: "clock", Unit: "ns",
		Detail: strings.TrimSpace(fmt.Sprintf("reading the clock takes %d ns; clocksource %s", clock.Nanoseconds(), source)),
	}, float64(clock), 500, never),
		atLeast(result.Gate{
			Name: "gomaxprocs", Unit: "count",
			Detail: fmt.Sprintf("GOMAXPROCS is %d: pacing and answers want one processor each", runtime.GOMAXPROCS(0)),
		}, float64(runtime.GOMAXPROCS(0)), 2, -never))
	if pages, err := strconv.Atoi(readLine("/proc/sys/fs/pipe-user-pages-soft")); err == nil && pages > 0 {
		need := tunnels * 2 * 16 // a pipe of 64 KiB each way
		out = append(out, atLeast(result.Gate{
			Name: "pipe_pages", Unit: "count",
			Detail: fmt.Sprintf("a user without privileges may have %d pages in pipes, splicing every tunnel takes %.0f: beyond, a pipe is one or two pages and splicing slow", pages, need),
		},
			float64(pages), need, -never))
	}
	return out
}

func readLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
