package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// session is one run of a client's steps.
type session struct {
	t    *testing.T
	lab  *lab
	path string // empty: straight at the server
	dir  string // where the programs run, of this session alone
	saw  []outcome
	// masks replace what differs for a reason: ports, folders.
	masks []string
}

// outcome is what came of a step.
type outcome struct {
	Step           string
	Status         int
	Stdout, Stderr string
}

// stepTime bounds one program; the longest takes a second or two.
const stepTime = 2 * time.Minute

func newSession(t *testing.T, l *lab, path string) *session {
	t.Helper()
	dir, err := os.MkdirTemp(l.dir, "session-") //nolint:usetesting // below the lab's folder, which is removed as a whole
	if err != nil {
		t.Fatal(err)
	}
	return &session{t: t, lab: l, path: path, dir: dir, masks: []string{dir, "FOLDER"}}
}

// port is where a client connects for a route, on 127.0.0.1.
func (s *session) port(kind, route, backend string) string {
	s.t.Helper()
	var port string
	var err error
	if s.path == "" {
		_, port, err = net.SplitHostPort(s.lab.backend(backend).Address)
	} else {
		port, err = s.lab.port(way{kind, route, s.path})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.masks = append(s.masks, "port "+port, "port PORT", ":"+port, ":PORT", `"`+port+`"`, `"PORT"`)
	return port
}

// unique is a name for things on the server that are this session's.
func (s *session) unique() string { return strings.ReplaceAll("at_"+s.path, "-", "_") }

// step is a program to run and what must come of it, wherever it goes.
type step struct {
	name   string
	argv   []string
	env    []string
	stdin  string
	status int
	// prints is in what it prints, and says in what it says on standard error, as expressions.
	prints, says string
	// figures are of this run alone: times, process ids.
	figures *regexp.Regexp
	// unordered lines, such as the fields of an HTTP message.
	unordered bool
}

// run runs a step and returns what it printed.
func (s *session) run(st step) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), stepTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, st.argv[0], st.argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.dir, strings.NewReader(st.stdin), &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second // a ProxyCommand that is left over holds the pipes
	cmd.Env = append(slices.DeleteFunc(os.Environ(), settings), append(st.env, "HOME="+s.dir, "LC_ALL=C.UTF-8", asProgram+"=1")...)
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.t.Fatalf("%s: %v: %s", st.name, err, stderr.String())
	}
	status := cmd.ProcessState.ExitCode()
	if status != st.status || !matches(st.prints, stdout.String()) || !matches(st.says, stderr.String()) {
		s.t.Fatalf("%s: %q ended with status %d, want %d\nprints %s\nwant %q\nsays %s\nwant %q", st.name, st.argv, status, st.status,
			short(stdout.String()), st.prints, short(stderr.String()), st.says)
	}
	s.note(outcome{st.name, status, s.mask(st, stdout.String()), s.mask(st, stderr.String())})
	return stdout.String()
}

// settings are of the user who runs the test.
func settings(variable string) bool {
	return strings.HasPrefix(variable, "PG") || strings.HasPrefix(variable, "MYSQL_") || strings.HasPrefix(variable, "SSH_") ||
		strings.HasPrefix(variable, "LC_") || strings.HasPrefix(variable, "LANG") || strings.HasSuffix(strings.ToLower(variable[:strings.IndexByte(variable, '=')]), "_proxy")
}

// anything is for messages that are not compared.
var anything = regexp.MustCompile(`(?s)^.*$`)

func matches(pattern, text string) bool {
	return pattern == "" || regexp.MustCompile(pattern).MatchString(text)
}

// mask takes out of a text what differs for a reason. A long one is taken as it is: it is data.
func (s *session) mask(st step, text string) string {
	if len(text) > most {
		return short(text)
	}
	if st.figures != nil {
		text = st.figures.ReplaceAllString(text, "…")
	}
	text = strings.NewReplacer(s.masks...).Replace(text)
	if st.unordered {
		lines := strings.Split(text, "\n")
		slices.Sort(lines)
		text = strings.Join(lines, "\n")
	}
	return short(text)
}

// most is how long a text may be to be shown as it is.
const most = 4096

// short leaves of a long text its size, its hash and its end.
func short(text string) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%d bytes, sha256 %x, and at the end %q", len(text), sha256.Sum256([]byte(text)), text[len(text)-200:])
}

// note adds something that must be the same, too: a file, the state of a server.
func (s *session) note(o outcome) { s.saw = append(s.saw, o) }

// noteTree notes the files below a folder of the session: names, modes, contents.
func (s *session) noteTree(name, folder string) {
	s.t.Helper()
	var tree strings.Builder
	err := filepath.WalkDir(filepath.Join(s.dir, folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := sha256.New()
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := io.Copy(sum, f); err != nil {
				return err
			}
		}
		rest, err := filepath.Rel(s.dir, path)
		fmt.Fprintf(&tree, "%s %v %x\n", rest, info.Mode(), sum.Sum(nil))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.note(outcome{Step: name, Stdout: tree.String()})
}

// compare fails for everything that is not as it is straight.
func (s *session) compare(straight *session) {
	s.t.Helper()
	if len(straight.saw) == 0 {
		s.t.Fatal("the client did nothing straight at the server")
	}
	if diff := cmp.Diff(straight.saw, s.saw); diff != "" {
		s.t.Errorf("not as straight at the server (-straight +%s):\n%s", s.path, diff)
	}
}

// write makes a file of the session.
func (s *session) write(name, text string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o644)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// straight is a session for what is asked beside a client's steps.
func (s *session) straight() *session {
	s.t.Helper()
	other := newSession(s.t, s.lab, "")
	other.masks = append(other.masks, s.unique(), "UNIQUE")
	return other
}
