// Package targets_test drives every adapter of this folder through every verb, with the real product behind it.
package targets_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// adapter is an executable of this folder.
type adapter struct{ name, role string }

var adapters = []adapter{
	{"haproxy_router.py", "router"},
	{"nginx_router.py", "router"},
	{"haproxy_lb.py", "lb"},
	{"nginx-lb.sh", "lb"},
	{"caddy_lb.py", "lb"},
	{"apache_lb.py", "lb"},
}

// answer is what an adapter prints.
type answer struct {
	Status, Message, Listen, Text string
	PID                           int
	Name, Version, Role           string
	Features                      []string
}

type object = map[string]any

// run is one verb, with a process of its own.
func (a adapter) run(t *testing.T, request object) answer {
	t.Helper()
	in, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*patience)
	defer cancel()
	path, err := filepath.Abs(a.name)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	defer func() { t.Logf("%s %v took %v", a.name, request["verb"], time.Since(begun)) }()
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(in), time.Second
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v: %s%s", a.name, request["verb"], err, stderr.Bytes(), out.Bytes())
	}
	var got answer
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%s %v: %v: %q %s", a.name, request["verb"], err, out.Bytes(), stderr.Bytes())
	}
	return got
}

// instance is a product that an adapter has started.
type instance struct {
	adapter
	t    *testing.T
	dir  string
	addr string
	pid  int
}

func (a adapter) start(t *testing.T, config object) *instance {
	t.Helper()
	i := &instance{adapter: a, t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		i.do("stop", nil) // once more for those that have stopped: it is no error
		if left := i.processes(); len(left) > 0 {
			t.Errorf("left running: %q", left)
		}
	})
	got := i.do("start", config)
	i.addr, i.pid = got.Listen, got.PID
	if i.addr == "" || strings.HasSuffix(i.addr, ":0") || syscall.Kill(i.pid, 0) != nil {
		t.Fatalf("started as %+v", got)
	}
	return i
}

// do is a verb that has to succeed.
func (i *instance) do(verb string, config object) answer {
	i.t.Helper()
	got := i.ask(verb, config)
	if got.Status != "ok" {
		i.t.Fatalf("%s %s: %+v\n%s", i.name, verb, got, i.ask("logs", nil).Text)
	}
	return got
}

func (i *instance) ask(verb string, config object) answer {
	i.t.Helper()
	request := object{"verb": verb, "dir": i.dir}
	if config != nil {
		request["config"] = config
	}
	return i.run(i.t, request)
}

// processes are those that work in the instance's directory or were started with its name.
func (i *instance) processes() (found []string) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		i.t.Fatal(err)
	}
	for _, p := range entries {
		cwd, _ := os.Readlink(p + "/cwd")
		args, _ := os.ReadFile(p + "/cmdline")
		if len(args) > 0 && (strings.HasPrefix(cwd, i.dir) || bytes.Contains(args, []byte(i.dir))) { // a zombie has no arguments
			found = append(found, fmt.Sprintf("%s %s", filepath.Base(p), bytes.ReplaceAll(args, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// eventually polls.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAdaptersDescribeThemselves(t *testing.T) {
	for _, a := range adapters {
		t.Run(a.name, func(t *testing.T) {
			got := a.run(t, object{"verb": "describe"})
			if got.Name == "" || got.Version == "" || got.Role != a.role || len(got.Features) == 0 {
				t.Errorf("got %+v", got)
			}
			if slices.Contains(got.Features, "no-such-feature") {
				t.Error("claims whatever there is")
			}
		})
	}
}

// TestAdaptersRefuseWhatTheyCannotDo: what is refused has started nothing.
func TestAdaptersRefuseWhatTheyCannotDo(t *testing.T) {
	w := newWorld(t)
	for _, a := range adapters {
		t.Run(a.name, func(t *testing.T) {
			right := w.balancer(w.echo("A"))
			if a.role == "router" {
				right = w.router("A")
			}
			for name, spoil := range map[string]func(config object){
				"a made-up feature": func(c object) { c["require"] = []string{"no-such-feature"} },
				"a made-up setting": func(c object) { c["no-such-setting"] = object{"mode": "on"} },
				"a setting inside":  func(c object) { c["certificates"].([]object)[0]["no-such-setting"] = "on" },
			} {
				config := clone(t, right)
				spoil(config)
				i := &instance{adapter: a, t: t, dir: t.TempDir()}
				if got := i.ask("start", config); got.Status != "unsupported" || got.Message == "" {
					t.Errorf("%s: %+v", name, got)
				}
				if left := i.processes(); len(left) > 0 {
					t.Errorf("%s: refused, and running: %q", name, left)
				}
			}
			i := &instance{adapter: a, t: t, dir: t.TempDir()}
			if got := i.ask("no-such-verb", nil); got.Status != "unsupported" {
				t.Errorf("a made-up verb: %+v", got)
			}
			if got := i.ask("reload", right); got.Status != "error" {
				t.Errorf("reload before start: %+v", got)
			}
		})
	}
}

func TestRoutersRefuseWhatTheProductLacks(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		adapter, setting string
		spoil            func(config object)
	}{
		{"haproxy_router.py", "upgrade", func(c object) { c["upgrade"] = object{"path": "/up", "types": []string{"websocket"}} }},
		{"nginx_router.py", "upgrade", func(c object) { c["upgrade"] = object{"path": "/up"} }},
		{"haproxy_router.py", "proxy_protocol.mode", func(c object) { c["proxy_protocol"] = object{"mode": "optional", "trusted": []string{"127.0.0.0/8"}} }},
		{"nginx_router.py", "send_proxy", func(c object) { route(c, "a")["backend"].(object)["send_proxy"] = "v2" }},
		{"haproxy_router.py", "backend.tls", func(c object) { route(c, "a")["backend"].(object)["tls"] = "starttls-postgres" }},
		{"nginx_router.py", "plaintext", func(c object) { c["plaintext"] = object{"ssh": "a"} }},
	} {
		t.Run(c.adapter+" "+c.setting, func(t *testing.T) {
			config := w.router("A")
			c.spoil(config)
			i := &instance{adapter: adapter{c.adapter, "router"}, t: t, dir: t.TempDir()}
			if got := i.ask("start", config); got.Status != "unsupported" || !strings.Contains(got.Message, c.setting) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestWrongConfigurationIsAnError(t *testing.T) {
	w := newWorld(t)
	for _, a := range adapters {
		t.Run(a.name, func(t *testing.T) {
			right := w.balancer(w.echo("A"))
			if a.role == "router" {
				right = w.router("A")
			}
			wrong := clone(t, right)
			wrong["certificates"].([]object)[0]["cert"] = "/nonexistent/cert.pem"
			i := &instance{adapter: a, t: t, dir: t.TempDir()}
			if got := i.ask("start", wrong); got.Status != "error" || got.Message == "" {
				t.Errorf("start: %+v", got)
			}
			if left := i.processes(); len(left) > 0 {
				t.Errorf("failed, and running: %q", left)
			}
			running := a.start(t, right)
			if got := running.ask("reload", wrong); got.Status != "error" || got.Message == "" {
				t.Errorf("reload: %+v", got)
			}
			if err := syscall.Kill(running.pid, 0); errors.Is(err, syscall.ESRCH) {
				t.Error("a reload that failed ended the product")
			}
		})
	}
}
