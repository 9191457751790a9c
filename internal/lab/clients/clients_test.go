// Package clients has the command-line programs that people use go through the local proxies to real servers, over every kind of path.
//
// A program's steps are run once straight at the server, with nothing of ours between, and once over each path; what it printed, how
// it ended and what it left must be the same. The lab and the proxies are processes, as a user starts them: this test's own program,
// which is tlsroute-bench when [asProgram] is set, so that the race detector looks at them too.
package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tlsroute/tlsroute-bench/internal/cli"
)

const (
	asProgram = "TLSROUTE_TEST_AS_PROGRAM"
	// backendsVariable names the driver of the servers; local when it is not set.
	backendsVariable = "TLSROUTE_TEST_BACKENDS"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" || len(os.Args) > 1 && os.Args[1] == "backend" { // which is in a container, without the variable
		os.Exit(program())
	}
	goleak.VerifyTestMain(m)
}

// program is the main function of this module, but for the patience with a second signal.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	return cli.Main(ctx, cli.Env{
		Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Hangup: make(chan os.Signal),
		Signals: func() (<-chan os.Signal, func()) {
			c := make(chan os.Signal, 8)
			signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
			return c, func() { signal.Stop(c) }
		},
	})
}

// paths are those of testdata/clients.yaml, as the README's table calls them. chain is that of scenarios/chain.yaml: a network load
// balancer, HAProxy, an ALB.
var paths = []string{"direct", "alb-https", "alb-http", "nlb-tcp", "chain"}

// client is a program of others. It is one row of the README's table.
type client struct {
	name     string
	pkg      string // the Debian package
	protocol string
	// steps are run straight first, and then at every path; all may run side by side.
	steps func(s *session)
}

// clients is in the order of the README's table.
var clients = []client{
	{name: "psql", pkg: "postgresql-client", protocol: "PostgreSQL", steps: psqlSteps},
	{name: "pg_dump", pkg: "postgresql-client", protocol: "PostgreSQL", steps: pgDumpSteps},
	{name: "pgbench", pkg: "postgresql", protocol: "PostgreSQL", steps: pgbenchSteps},
	{name: "mysql", pkg: "mariadb-client", protocol: "MySQL", steps: mysqlSteps},
	{name: "mysqldump", pkg: "mariadb-client", protocol: "MySQL", steps: mysqldumpSteps},
	{name: "ssh", pkg: "openssh-client", protocol: "SSH", steps: sshSteps},
	{name: "scp", pkg: "openssh-client", protocol: "SSH", steps: scpSteps},
	{name: "sftp", pkg: "openssh-client", protocol: "SSH", steps: sftpSteps},
	{name: "rsync", pkg: "rsync", protocol: "SSH", steps: rsyncSteps},
	{name: "curl", pkg: "curl", protocol: "HTTP/1.1, HTTP/2", steps: curlSteps},
}

// installed says what to install for the programs that are not here.
func installed(programs map[string]string) error {
	var missing []string
	for name, pkg := range programs {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", name, pkg))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not found: %s; run make packages", strings.Join(missing, ", "))
	}
	return nil
}

func TestClients(t *testing.T) {
	needed := map[string]string{"haproxy": "haproxy"}
	for _, c := range clients {
		needed[c.name] = c.pkg
	}
	if err := installed(needed); err != nil {
		t.Fatal(err)
	}
	l := serve(t, "testdata/clients.yaml")
	loadPostgres(t, l)
	loadMySQL(t, l)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			straight := newSession(t, l, "")
			c.steps(straight)
			for _, path := range paths {
				t.Run(path, func(t *testing.T) {
					t.Parallel()
					s := newSession(t, l, path)
					c.steps(s)
					s.compare(straight)
				})
			}
		})
	}
}
