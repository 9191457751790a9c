// Package arrows keeps the rooms of the house apart: which package may import which, as a test. The diagram is in
// ARCHITECTURE.md; .golangci.yml has the same rules for editors.
package arrows

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tlsroute/tlsroute-bench/"

// rule says what a folder may import: of this module, and of other modules. Test files are bound by it too, unless the
// rule lists more for them.
type rule struct {
	ours, foreign []string
	// tests may import these as well.
	tests []string
}

// always may be imported by any test.
var always = []string{
	"go.uber.org/goleak", "github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "github.com/coder/websocket",
}

// rules by folder; the longest folder that fits a package binds it. A package that no rule fits fails the test.
var rules = map[string]rule{
	"": {ours: []string{"internal/cli", "internal/backend/container"}, tests: []string{"internal/result", "reports"}},

	"refimpl/clienthello":  {},
	"refimpl/sniff":        {},
	"refimpl/route":        {},
	"refimpl/splice":       {foreign: []string{"golang.org/x/sys"}, tests: []string{"refimpl/upgrade"}},
	"refimpl/sourceaddr":   {ours: []string{"refimpl/clienthello"}, foreign: []string{"github.com/pires/go-proxyproto"}},
	"refimpl/upgrade":      {foreign: []string{"github.com/gobwas/ws"}},
	"refimpl/probe":        {},
	"refimpl/client":       {ours: []string{"refimpl/probe", "refimpl/upgrade"}, foreign: []string{"golang.org/x/net"}, tests: []string{"refimpl", "golang.org/x/crypto", "github.com/jackc/pgx"}},
	"refimpl/client/proxy": {ours: []string{"refimpl/client", "refimpl/splice"}, tests: []string{"refimpl", "github.com/jackc/pgx"}},
	"refimpl/router":       {ours: []string{"refimpl"}, foreign: []string{"github.com/pires/go-proxyproto"}},
	"refimpl/router/admin": {ours: []string{"refimpl/router"}, foreign: []string{"github.com/prometheus/client_golang"}},

	"albsim":       {foreign: []string{"golang.org/x/net", "golang.org/x/sys"}, tests: []string{"internal/nodes"}},
	"albsim/admin": {ours: []string{"albsim"}, foreign: []string{"github.com/prometheus/client_golang"}},

	"internal/result":     {},
	"internal/witness":    {},
	"internal/certs":      {},
	"internal/netx":       {},
	"internal/near":       {},
	"internal/process":    {},
	"internal/procstat":   {ours: []string{"internal/process"}, foreign: []string{"golang.org/x/sys"}},
	"internal/shard":      {ours: []string{"internal/result"}},
	"internal/nodes":      {foreign: []string{"golang.org/x/net"}},
	"internal/product":    {ours: []string{"internal/certs", "internal/process"}},
	"internal/realproxy":  {ours: []string{"internal/certs", "internal/process", "internal/product"}},
	"internal/peerrouter": {ours: []string{"internal/certs", "internal/process", "internal/product"}},
	"internal/arrows":     {},
	"internal/progress":   {foreign: []string{"github.com/vbauerster/mpb"}},
	"internal/document":   {ours: []string{"internal/near"}, foreign: []string{"go.yaml.in/yaml", "github.com/santhosh-tekuri/jsonschema", "golang.org/x/text"}},
	"internal/baseline":   {ours: []string{"internal/document", "conformance"}},
	"internal/stranger":   {ours: []string{"internal/document", "scenarios"}},
	"internal/scenario":   {ours: []string{"internal/document", "scenarios"}},
	"scenarios":           {tests: []string{"internal/scenario", "internal/document"}},

	"internal/capture": {ours: []string{"internal/result", "conformance/wire"}, foreign: []string{"github.com/google/gopacket", "golang.org/x/crypto", "golang.org/x/sys"}},
	"internal/backend": {
		ours:    []string{"internal/result", "internal/witness", "internal/certs", "internal/netx", "internal/process", "conformance/wire"},
		foreign: []string{"golang.org/x/crypto", "golang.org/x/sys", "github.com/jackc/pgx", "github.com/go-sql-driver/mysql", "github.com/pires/go-proxyproto", "github.com/coder/websocket", "github.com/moby/spdystream"},
	},
	"internal/backend/container/images": {tests: []string{"internal/certs", "github.com/jackc/pgx", "github.com/go-sql-driver/mysql", "golang.org/x/crypto"}},

	"internal/backend/backendtest": {
		ours:    []string{"internal/backend", "internal/certs", "internal/process", "internal/witness"},
		foreign: []string{"golang.org/x/crypto", "github.com/jackc/pgx", "github.com/go-sql-driver/mysql", "github.com/google/go-cmp"},
	},
	"internal/backend/container": {
		ours:    []string{"internal/backend", "internal/process"},
		foreign: []string{"github.com/testcontainers/testcontainers-go", "github.com/moby/moby", "github.com/containerd/errdefs", "github.com/go-sql-driver/mysql", "golang.org/x/crypto"},
		tests:   []string{"github.com/jackc/pgx"},
	},

	"conformance/wire": {foreign: []string{"github.com/gobwas/ws", "golang.org/x/net"}},
	"conformance/door": {},
	"conformance": {
		ours:    []string{"conformance/wire", "conformance/door", "internal/result", "internal/witness", "internal/netx"},
		foreign: []string{"github.com/gobwas/ws", "golang.org/x/net", "golang.org/x/crypto"},
	},
	"conformance/checks": {
		ours:    []string{"conformance", "internal/result", "internal/witness", "internal/netx"},
		foreign: []string{"github.com/gobwas/ws", "golang.org/x/net", "golang.org/x/crypto"},
	},
	"conformance/conformancetest": {ours: []string{"conformance", "internal/result"}},
	"conformance/strength":        {ours: []string{"conformance", "internal/result", "internal/netx"}},
	"conformance/targets":         {tests: []string{"conformance", "internal/certs"}},
	"conformance/selftest":        {ours: []string{"conformance", "refimpl", "albsim", "internal"}, tests: []string{"golang.org/x/net", "golang.org/x/sys"}},

	"bench": {
		ours:    []string{"internal/result", "internal/witness", "internal/netx"},
		foreign: []string{"github.com/HdrHistogram/hdrhistogram-go", "github.com/jackc/pgx", "github.com/go-sql-driver/mysql", "github.com/pkg/sftp", "golang.org/x/crypto", "golang.org/x/sys"},
	},
	"reports": {
		ours:  []string{"internal/result", "internal/near"},
		tests: []string{"github.com/chromedp", "golang.org/x/net", "github.com/santhosh-tekuri/jsonschema", "golang.org/x/perf", "github.com/prometheus/common"},
	},

	"internal/reportserver": {ours: []string{"internal/result", "reports"}},

	"internal/lab": {
		ours:  []string{"refimpl", "albsim", "conformance", "bench", "scenarios", "internal"},
		tests: []string{"github.com/jackc/pgx", "github.com/go-sql-driver/mysql", "golang.org/x/crypto", "github.com/pkg/sftp", "github.com/moby/spdystream"},
	},
	// Tests alone, of the program as a whole.
	"internal/lab/clients": {tests: []string{"internal/backend/container", "internal/cli", "internal/process"}},
	"internal/cli": {
		ours:    []string{"internal", "conformance", "bench", "reports", "scenarios"},
		foreign: []string{"github.com/urfave/cli"},
	},
	"internal/peers": {ours: []string{"internal/certs", "internal/procstat", "refimpl/upgrade"}, foreign: []string{"golang.org/x/sys"}, tests: []string{"refimpl/router"}},
	"internal/aa":    {ours: []string{"bench", "internal/certs", "internal/witness", "internal/result"}, foreign: []string{"golang.org/x/sys"}},
	"internal/gen":   {ours: []string{"refimpl", "albsim", "bench", "conformance", "internal", "reports"}, foreign: []string{"github.com/invopop/jsonschema"}},
}

// never are imports that even a folder with a wide rule must not have.
var never = map[string][]string{
	"internal/cli": {"refimpl", "albsim", "internal/backend"},
	"internal/lab": {"internal/cli", "reports"},
}

// listeners are the commands: they alone listen to signals.
var listeners = []string{"", "internal/peers", "internal/aa"}

// forTests are packages that link testing, so only tests may import them.
var forTests = []string{module + "internal/backend/backendtest"}

type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

func TestArrowsGoDownOnly(t *testing.T) {
	packages := list(t)
	if len(packages) < 15 {
		t.Fatalf("go list found %d packages: the test looks in the wrong place", len(packages))
	}
	for _, p := range packages {
		folder := strings.TrimPrefix(p.ImportPath+"/", module)
		folder = strings.TrimSuffix(folder, "/")
		if slices.Contains(p.Imports, "os/signal") && !slices.Contains(listeners, folder) {
			t.Errorf("%s must not import os/signal: main listens, and hands on", folder)
		}
		name, r, ok := ruleFor(folder)
		if !ok {
			t.Errorf("%s has no rule: say in internal/arrows what it may import", folder)
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(forTests, imported) {
				t.Errorf("%s must not import %s outside of its tests", folder, imported)
			}
			if !allowed(imported, r.ours, r.foreign) || fits(strings.TrimPrefix(imported, module), never[name]) {
				t.Errorf("%s must not import %s", folder, imported)
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			ours := slices.Concat(r.ours, r.tests, []string{name, "internal/certs", "internal/witness", "internal/netx"})
			if !allowed(imported, ours, slices.Concat(r.foreign, r.tests, always)) {
				t.Errorf("the tests of %s must not import %s", folder, imported)
			}
		}
	}
}

func ruleFor(folder string) (string, rule, bool) {
	for name := folder; ; name = name[:strings.LastIndexByte(name, '/')] {
		if r, ok := rules[name]; ok {
			return name, r, true
		}
		if !strings.Contains(name, "/") {
			return "", rule{}, false
		}
	}
}

func allowed(path string, ours, foreign []string) bool {
	if rest, ok := strings.CutPrefix(path, module); ok {
		return fits(rest, ours)
	}
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") || fits(path, foreign) // the standard library has no dot in its first element
}

func fits(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Standard,Imports,TestImports,XTestImports", "../../...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
