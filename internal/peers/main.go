//go:build linux

// Command peers measures the reference router, or the load balancer simulator, against HAProxy and nginx on loopback: "make
// bench-router" and "make bench-alb". It is a tool for
// whoever works on the data path; nothing of it is linked into the product.
//
// Every router is a process of its own, and so are the backend behind them and the load in front of them, both of which are
// this program again. A round measures each router once, every other round in the opposite order (ABBA), so that what the
// machine does meanwhile falls on all alike. Throughput compares chains on a shared machine; CPU by GiB or by connection
// compares routers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// descriptors is the limit of every process here, as the issue has it: half of it is what one router can hold.
const descriptors = 20000

// The names under which this program starts itself.
const (
	roleSink = "sink"
	roleLoad = "load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == roleSink:
		err = sinkMain(os.Stdin, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == roleLoad:
		err = loadMain(ctx, os.Stdin, os.Stdout)
	default:
		err = measureMain(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

type options struct {
	router   string
	rows     *regexp.Regexp
	rounds   int
	duration time.Duration
	tunnels  int
	held     time.Duration
	settle   time.Duration
	json     string
	profile  string
	check    bool
	table    func(options) []row
}

func measureMain(ctx context.Context) error {
	var o options
	rows := flag.String("rows", ".", "measure the rows whose names match this `REGEXP`; -list has them")
	list := flag.Bool("list", false, "list the rows and what they are to reach")
	flag.StringVar(&o.router, "router", "bin/tlsroute-bench", "our `BINARY`, built with -trimpath")
	flag.IntVar(&o.rounds, "rounds", 4, "rounds of each row; even, so that both orders are measured alike")
	flag.DurationVar(&o.duration, "duration", time.Second, "one window")
	flag.IntVar(&o.tunnels, "n", 5000, "idle tunnels")
	flag.DurationVar(&o.held, "held", 10*time.Second, "the minute of the 9,500 tunnels, compressed")
	flag.DurationVar(&o.settle, "settle", 3*time.Second, "from the last tunnel's opening to the reading of memory")
	flag.StringVar(&o.json, "json", "", "write every sample to `FILE` as well")
	flag.StringVar(&o.profile, "profile", "", "leave a profile of our router at each row in `DIR`, for perf report")
	flag.BoolVar(&o.check, "check", false, "exit status 1 when a target is missed")
	alb := flag.Bool("alb", false, "measure the load balancer simulator instead, against HAProxy and nginx as load balancers")
	flag.Parse()
	if o.table = table; *alb {
		o.table = balancerTable
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if o.rounds < 1 || o.tunnels < 1 || o.tunnels > heldTunnels {
		return fmt.Errorf("want at least one round, and 1 to %d tunnels", heldTunnels)
	}
	var err error
	if o.rows, err = regexp.Compile(*rows); err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if *list {
		for _, r := range o.table(o) {
			for _, f := range r.figures {
				fmt.Printf("%-22s %-14s %s\n", r.name, f.unit, f.target)
			}
		}
		return nil
	}
	// Once set here, the limit is inherited by every child; Go would give them the one it was started with.
	limit := syscall.Rlimit{Cur: descriptors, Max: descriptors}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of %d descriptors: %w", descriptors, err)
	}
	about := describe(ctx, o.router)
	results, err := measure(ctx, o)
	for _, line := range about {
		fmt.Println(line)
	}
	printTable(os.Stdout, results)
	if o.json != "" {
		data, jsonErr := json.MarshalIndent(report{about, results}, "", "  ")
		if jsonErr == nil {
			jsonErr = os.WriteFile(o.json, append(data, '\n'), 0o644)
		}
		if err == nil {
			err = jsonErr
		}
	}
	if err == nil && o.check && missed(results) {
		err = errors.New("a target was missed")
	}
	return err
}

// report is what -json writes.
type report struct {
	About   []string `json:"about"`
	Results []result `json:"results"`
}

// describe says what was compared, where and when.
func describe(ctx context.Context, router string) []string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg") // neither is worth failing for
	lines := []string{fmt.Sprintf("%s, Linux %s, %d CPUs, load before %s", time.Now().UTC().Format(time.RFC3339),
		strings.TrimSpace(string(kernel)), runtime.NumCPU(), strings.TrimSpace(string(load)))}
	for _, argv := range [][]string{{router, "version"}, {"haproxy", "-v"}, {"nginx", "-v"}} {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		first, _, _ := strings.Cut(string(out), "\n")
		if err != nil {
			first = argv[0] + ": " + err.Error()
		}
		lines = append(lines, first)
	}
	return lines
}
