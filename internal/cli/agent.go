package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/bench"
	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/internal/shard"
	"github.com/tlsroute/tlsroute-bench/reports"
)

// agentSeed is the default: all agents of a plan must have the same.
const agentSeed = 1

// noListen is the --listen of an agent 0 that does not coordinate.
const noListen = "none"

func agentCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "agent",
		Usage: "send one part of a measurement's load, together with other processes, here or on other machines",
		Description: "Agents 0 to N-1 are given the same scenario and settings. They begin, take turns between the paths and end together; a window that\n" +
			"one of them spoils is left out in all. Agent 0 coordinates, merges what all measured, and reports. When one fails, all do.\n\n" +
			"   here:       tlsroute-bench agent --local --shards 2 SCENARIO\n" +
			"   elsewhere:  tlsroute-bench agent --shard I/N --coordinator HOST:PORT --ready FILE --cert … --key … --ca … SCENARIO",
		ArgsUsage: "SCENARIO",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "shard", Usage: "this is part `I/N`, counted from 0"},
			&cli.StringFlag{Name: "slot", Usage: "the same as a replicated job of Docker Swarm tells its tasks by {{.Task.Slot}}`/N`"},
			&cli.BoolFlag{Name: "local", Usage: "start --shards agents here, each dialling from an address of its own from 127.0.0.2 on, and coordinate them"},
			&cli.IntFlag{Name: "shards", Value: 2, Usage: "`N` agents for --local"},
			&cli.StringFlag{Name: "coordinator", Usage: "`HOST:PORT` of agent 0, for all of them; agent 0 listens on that port"},
			&cli.StringFlag{Name: "listen", Usage: "agent 0 listens on `ADDR` in place of that; none when another process coordinates"},
			&cli.StringFlag{Name: "ready", Usage: "send the load to the topology of the `FILE` that \"serve --ready FILE\" wrote (default: each agent brings one up for itself)"},
			&cli.StringFlag{Name: "source", Usage: "dial from this local `IP`"},
			&cli.StringFlag{Name: "cert", Usage: "this agent's certificate `FILE`, for the coordinator's connections: of a server for agent 0, of a client for others"},
			&cli.StringFlag{Name: "key", Usage: "its key `FILE`"},
			&cli.StringFlag{Name: "ca", Usage: "PEM bundle `FILE` of the authority of all agents"},
			&cli.DurationFlag{Name: "patience", Value: shard.DefaultPatience, Usage: "fail when an agent is not there after `TIME`"},
			&cli.Int64Flag{Name: "seed", Value: agentSeed, Usage: "for the arrivals and the order of the paths; the same in all"},
			&cli.StringSliceFlag{Name: "set", Usage: "override one scenario value, `KEY=VALUE`; the same in all"},
			&cli.StringFlag{Name: "backends", Value: "embedded", Usage: "embedded, local, container or auto, of a topology that is brought up here"},
			&cli.StringFlag{Name: "out", Usage: "write the report to `DIR`, and each agent's part to DIR/shard-I (default: reports/out/<scenario>-<time>, and no parts)"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "what agent 0 prints on standard output: text, json, github, …"},
		},
		Action: func(c *cli.Context) error {
			a, err := newAgent(c, env)
			if err != nil {
				return err
			}
			if a.local {
				return a.runLocal(c.Context)
			}
			return a.run(c.Context)
		},
	}
}

// agent is one "agent" with its options.
type agent struct {
	env         Env
	log         *slog.Logger
	quiet       bool
	argument    string // names the scenario
	sets        []string
	sc          *scenario.Scenario
	local       bool
	index, of   int
	coordinator string
	listen      string
	ready       string
	source      net.IP
	secure      *tls.Config
	patience    time.Duration
	seed        int64
	backends    string
	out         string
	format      reports.Format
}

func newAgent(c *cli.Context, env Env) (_ *agent, err error) {
	a := &agent{
		env: env, quiet: c.Bool("quiet") || c.String("log-format") == "json", sets: c.StringSlice("set"), local: c.Bool("local"), of: c.Int("shards"),
		coordinator: c.String("coordinator"), listen: c.String("listen"), ready: c.String("ready"), patience: c.Duration("patience"),
		seed: c.Int64("seed"), backends: c.String("backends"), out: c.String("out"),
	}
	if a.log, err = logger(c, env); err != nil {
		return nil, err
	}
	if c.NArg() != 1 {
		return nil, usagef("agent takes one scenario, such as scenarios/alb.yaml")
	}
	a.argument = c.Args().First()
	if err := a.place(c); err != nil {
		return nil, err
	}
	if a.patience <= 0 {
		return nil, usagef("--patience %v: want a time, such as 2m", a.patience)
	}
	if source := c.String("source"); source != "" {
		if a.source = net.ParseIP(source); a.source == nil {
			return nil, usagef("--source %s: want an IP address", source)
		}
	}
	if err := lab.KnowsDriver(a.backends); err != nil {
		return nil, usagef("--backends: %w", err)
	}
	if a.format, err = reports.Get(c.String("format")); err != nil {
		return nil, usagef("--format: %w", err)
	}
	if err := a.certificates(c); err != nil {
		return nil, err
	}
	if a.sc, err = loadScenario(a.argument, a.sets, a.backends); err != nil {
		return nil, err
	}
	if a.sc.Bench.Disabled || len(a.sc.Bench.Workloads) == 0 {
		return nil, usagef("%s has nothing to measure: its bench part has no workloads, or is disabled", a.argument)
	}
	return a, nil
}

// nodeID is what Docker puts for the slot of task 0 of a replicated job: jobs count from 0, and a task without a slot is named by its node
// (swarmkit, api/naming; seen with engine 20.10.24).
var nodeID = regexp.MustCompile(`^[0-9a-z]{25}$`)

// place says which part this is.
func (a *agent) place(c *cli.Context) error {
	name := "shard"
	if c.String("slot") != "" {
		name = "slot"
	}
	text := c.String(name)
	switch {
	case c.String("shard") != "" && c.String("slot") != "":
		return usagef("--shard and --slot say the same: give one")
	case a.local && text != "":
		return usagef("--local starts all agents, and takes no --%s", name)
	case a.local && (a.of < 1 || a.of > shard.MaxShards):
		return usagef("--shards %d: want 1 to %d", a.of, shard.MaxShards)
	case a.local && (a.coordinator != "" || a.listen != "" || c.String("source") != ""):
		return usagef("--local takes none of --coordinator, --listen and --source")
	case a.local:
		return nil
	case text == "":
		return usagef("which part? give --shard I/N, or --local")
	}
	index, of, ok := strings.Cut(text, "/")
	if name == "slot" && nodeID.MatchString(index) {
		index = "0"
	}
	var err1, err2 error
	a.index, err1 = strconv.Atoi(index)
	a.of, err2 = strconv.Atoi(of)
	if !ok || err1 != nil || err2 != nil || a.of < 1 || a.of > shard.MaxShards || a.index < 0 || a.index >= a.of {
		return usagef("--%s %s: want I/N, I from 0 to N-1 and N at most %d", name, text, shard.MaxShards)
	}
	if a.coordinator == "" && (a.index > 0 || a.listen == "" || a.listen == noListen) {
		return usagef("--coordinator HOST:PORT is required")
	}
	if a.index > 0 || a.listen != "" {
		return nil
	}
	host, port, err := net.SplitHostPort(a.coordinator)
	if err != nil {
		return usagef("--coordinator %s: %w", a.coordinator, err)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		a.listen = a.coordinator
	} else {
		a.listen = ":" + port
	}
	return nil
}

func (a *agent) certificates(c *cli.Context) error {
	cert, key, ca := c.String("cert"), c.String("key"), c.String("ca")
	switch {
	case cert == "" && key == "" && ca == "":
		return nil
	case a.local:
		return usagef("--local needs no certificates: it stays on this machine")
	case cert == "" || key == "" || ca == "":
		return usagef("--cert, --key and --ca go together")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return usagef("--cert: %w", err)
	}
	roots, err := caBundle(ca)
	if err != nil {
		return err
	}
	a.secure = &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: roots, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
	return nil
}

// run is one agent.
func (a *agent) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, done, err := a.topology(ctx, cancel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, withStatus(result.ExitInconclusive, done())) }()
	plan, err := l.Plan(a.seed)
	if err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	plan.Shard, plan.Shards, plan.Limits = a.index, a.of, nil // limits are for the whole
	hello, err := a.hello(plan)
	if err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	if a.index > 0 || a.listen == noListen {
		conn, err := shard.Dial(ctx, a.coordinator, a.secure, a.patience)
		if err == nil {
			err = a.measure(ctx, conn, hello, plan, l)
		}
		return withStatus(result.ExitInconclusive, err)
	}

	listener, err := shard.Listen(ctx, a.listen, a.secure)
	if err != nil {
		return withStatus(result.ExitInconclusive, listenHint(err))
	}
	near, far := net.Pipe()
	type outcome struct {
		parts []shard.Delivery
		err   error
	}
	served := make(chan outcome, 1)
	go func() {
		parts, err := a.serve(ctx, listener, far)
		served <- outcome{parts, err}
	}()
	err = a.measure(ctx, near, hello, plan, l)
	o := <-served
	if o.err != nil || err != nil {
		if o.err != nil {
			err = o.err // which knows more, and whose error the agent's is
		}
		return withStatus(result.ExitInconclusive, err)
	}
	return a.report(o.parts)
}

func (a *agent) serve(ctx context.Context, listener net.Listener, own ...net.Conn) ([]shard.Delivery, error) {
	return shard.Coordinator{Of: a.of, Patience: a.patience, Joined: func(h shard.Hello) {
		a.log.Info("agent", "shard", h.Index, "host", h.Host, "pid", h.PID, "descriptors", h.Descriptors,
			"clock_offset", time.Duration(h.OffsetNS), "round_trip", time.Duration(h.RoundTripNS))
	}}.Serve(ctx, listener, own...)
}

// topology is where the load goes, and how it is taken down.
func (a *agent) topology(ctx context.Context, failed context.CancelCauseFunc) (*lab.Lab, func() error, error) {
	if a.ready != "" {
		l, err := lab.Remote(a.sc, a.ready, a.source)
		return l, func() error { return nil }, withStatus(result.ExitUsage, err)
	}
	l, err := lab.Start(ctx, a.sc, lab.Options{Backends: a.backends, Logger: a.log, Failed: failed})
	if err != nil {
		return nil, nil, withStatus(result.ExitInconclusive, listenHint(err))
	}
	return l, func() error {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		return l.Close(closing)
	}, nil
}

// hello is who this is and what it was given.
func (a *agent) hello(plan bench.Plan) (*shard.Hello, error) {
	h := &shard.Hello{Of: a.of, Descriptors: bench.Descriptors()}
	h.Index, h.PID, h.Host = a.index, os.Getpid(), host().Name
	if a.source != nil {
		h.Source = a.source.String()
	}
	same, err := json.Marshal(map[string]any{"scenario": a.sc, "seed": plan.Seed, "shards": a.of, "report": result.Schema})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(same)
	h.PlanSHA256 = hex.EncodeToString(sum[:])
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("this program: %w", err)
	}
	f, err := os.Open(program)
	if err != nil {
		return nil, fmt.Errorf("this program: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	binary := sha256.New()
	if _, err := io.Copy(binary, f); err != nil {
		return nil, fmt.Errorf("this program: %w", err)
	}
	h.BinarySHA256 = hex.EncodeToString(binary.Sum(nil))
	return h, nil
}

// measure sends this part and delivers what came of it.
func (a *agent) measure(ctx context.Context, conn net.Conn, hello *shard.Hello, plan bench.Plan, l *lab.Lab) error {
	place, err := shard.Join(ctx, conn, hello, a.patience)
	if err != nil {
		return err
	}
	defer func() { _ = place.Close() }() // what matters was answered
	r := &result.Run{
		Schema: result.Schema, Backends: l.Backends(), LoadBalancers: l.LoadBalancers(), Topology: l.Topology(), Wire: []result.Wire{},
		Run: result.Info{
			ID: newID(), Started: time.Now().UTC(), Seed: plan.Seed, Host: host(), Command: append([]string{"tlsroute-bench"}, a.env.Args[1:]...),
		},
		Scenario: result.Scenario{Name: a.sc.Name, File: a.sc.File, SHA256: a.sc.SHA256, Description: a.sc.Description},
	}
	r.Run.Version, r.Run.Commit = build()
	logs := map[string]*memoryLog{}
	r.Bench, err = bench.Run(ctx, plan, bench.Options{Barrier: place, Logger: a.log, Log: func(name string) (io.WriteCloser, error) {
		r.Artifacts = append(r.Artifacts, name)
		logs[name] = &memoryLog{}
		return logs[name], nil
	}})
	if err != nil {
		return err
	}
	r.Run.Finished = time.Now().UTC()
	own := hello.Shard
	if len(r.Bench.Shards) == 1 { // not of a single agent
		own.Excluded = r.Bench.Shards[0].Excluded
	}
	r.Bench.Shards = []result.Shard{own}
	r.Judge()
	part := shard.Part{Logs: map[string][]byte{}}
	for name, log := range logs {
		part.Logs[name] = log.Bytes()
	}
	if part.Report, err = json.Marshal(r); err != nil {
		return err
	}
	if a.out != "" {
		if err := a.keep(r, part); err != nil {
			return err
		}
	}
	return place.Deliver(ctx, part)
}

// memoryLog is a log on its way to the coordinator.
type memoryLog struct{ bytes.Buffer }

func (*memoryLog) Close() error { return nil }

// keep writes this agent's own part beside the report.
func (a *agent) keep(r *result.Run, part shard.Part) error {
	dir := filepath.Join(a.out, fmt.Sprintf("shard-%d", a.index))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("output folder: %w", err)
	}
	for name, data := range part.Logs {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("log: %w", err)
		}
	}
	json, err := reports.Get("json")
	if err != nil {
		return err
	}
	return writeReport(json, r, filepath.Join(dir, json.File))
}

// report merges what the agents delivered.
func (a *agent) report(deliveries []shard.Delivery) error {
	var runs []*result.Run
	var parts []bench.Part
	for _, d := range deliveries {
		name := fmt.Sprintf("shard %d", d.Hello.Index)
		run, err := reports.Read(bytes.NewReader(d.Part.Report))
		if err != nil {
			return withStatus(result.ExitInconclusive, fmt.Errorf("%s: %w", name, err))
		}
		runs = append(runs, run)
		parts = append(parts, bench.Part{Name: name, Bench: run.Bench, Log: func(name string) (io.ReadCloser, error) {
			data, ok := d.Part.Logs[name]
			if !ok {
				return nil, fmt.Errorf("no log %q was delivered", name)
			}
			return io.NopCloser(bytes.NewReader(data)), nil
		}})
	}
	dir := a.out
	if dir == "" {
		dir = filepath.Join("reports", "out", a.sc.Name+"-"+time.Now().UTC().Format("20060102-150405"))
	}
	run, err := mergeRuns(runs, parts, append([]string{}, a.sc.Limits...), dir)
	if err != nil {
		return withStatus(result.ExitInconclusive, err)
	}
	run.Run.Command = append([]string{"tlsroute-bench"}, a.env.Args[1:]...)
	return finish(a.env, run, dir, a.format, a.quiet)
}
