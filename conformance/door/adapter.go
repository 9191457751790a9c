package door

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Bounds on what an adapter may do.
const (
	verbTime   = 30 * time.Second
	mostAnswer = 1 << 20
	mostSaid   = 8 << 10 // of its standard error, in an error of ours
	// unsupportedStatus is the exit status of an adapter that cannot do what is asked.
	unsupportedStatus = 127
)

// The values of Answer.Status.
const (
	OK          = "ok"
	Unsupported = "unsupported"
	Failed      = "error"
)

// UnsupportedError is the word of a target that cannot do what is asked.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return "unsupported: " + e.Reason }

// Request is what an adapter reads: one verb, and what belongs to it. Config is a Router or a Balancer.
type Request struct {
	Verb   string          `json:"verb"`
	Dir    string          `json:"dir,omitempty"`
	Config json.RawMessage `json:"config,omitempty"`
	// Of the verb dial.
	Address string   `json:"address,omitempty"`
	SNI     string   `json:"sni,omitempty"`
	ALPN    []string `json:"alpn,omitempty"`
	// OuterSNI is the load balancer's name, when the certificate that it shows is for another than Address's host.
	OuterSNI string    `json:"outer_sni,omitempty"`
	CA       *CA       `json:"ca,omitempty"`
	Client   *Identity `json:"client,omitempty"`
	Upgrade  string    `json:"upgrade,omitempty"`
}

// CA are bundles of roots, by path.
type CA struct {
	Outer string `json:"outer,omitempty"`
	Inner string `json:"inner,omitempty"`
}

// Identity is a client certificate, by path.
type Identity struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// Answer is what an adapter says.
type Answer struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	// Of describe.
	Name     string   `json:"name,omitempty"`
	Version  string   `json:"version,omitempty"`
	Role     string   `json:"role,omitempty"`
	Features []string `json:"features,omitempty"`
	// Of start.
	Listen string `json:"listen,omitempty"`
	Admin  string `json:"admin,omitempty"`
	PID    int    `json:"pid,omitempty"`
	// Of logs.
	Text string `json:"text,omitempty"`
	// Of dial.
	Class       string `json:"class,omitempty"`
	UpgradeType string `json:"upgrade,omitempty"`
	ALPN        string `json:"alpn,omitempty"`
	// Then, if not nil, is called by Serve once the answer is out: what comes behind the request, and what goes behind the answer, is the
	// tunnel of a dial.
	Then func(in io.Reader, out io.Writer) error `json:"-"`
}

// Adapter is an executable that sets an implementation up.
type Adapter struct {
	Command []string
	// Dir is where it is run; the process's own when empty.
	Dir string
	// Time bounds a verb; 30 s when 0.
	Time time.Duration
}

// Do runs the adapter for one verb. An *[UnsupportedError] is its word; every other error names the adapter. One that does not end in
// time, or that floods, is killed with all that it has started.
func (a Adapter) Do(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, a.time())
	defer cancel()
	in, err := json.Marshal(r)
	if err != nil {
		return Answer{}, err
	}
	out, said := &bounded{most: mostAnswer}, &bounded{most: mostSaid, drop: true}
	cmd := a.command(ctx)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(append(in, '\n')), out, said
	// What a start leaves running may hold the pipes: they are not waited for once the adapter itself has ended.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return a.answer(ctx, r.Verb, out, said, err)
}

func (a Adapter) time() time.Duration { return cmp.Or(a.Time, verbTime) }

// command has a process group of its own, so that all of it can be killed.
func (a Adapter) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.Command[0], a.Command[1:]...)
	cmd.Dir = a.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

func (a Adapter) answer(ctx context.Context, verb string, out, said *bounded, err error) (Answer, error) {
	fail := func(format string, args ...any) (Answer, error) {
		tail := strings.TrimSpace(said.buf.String())
		if tail != "" {
			tail = "; it said: " + tail
		}
		return Answer{}, fmt.Errorf("adapter %s, verb %s: %s%s", a.Command[0], verb, fmt.Sprintf(format, args...), tail)
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fail("it did not end within %v and was killed", a.time())
	case out.flooded:
		return fail("it printed more than %d bytes", mostAnswer)
	case errors.As(err, &exit) && exit.ExitCode() == unsupportedStatus:
		return Answer{}, &UnsupportedError{fmt.Sprintf("%s of %s", verb, a.Command[0])}
	case err != nil && out.buf.Len() == 0:
		return fail("%v", err)
	}
	var answer Answer
	dec := json.NewDecoder(&out.buf)
	if bad := dec.Decode(&answer); bad != nil {
		return fail("what it printed is no JSON object: %v", bad)
	}
	if _, more := dec.Token(); !errors.Is(more, io.EOF) {
		return fail("it printed more than one JSON object")
	}
	switch {
	case answer.Status == Unsupported:
		return Answer{}, &UnsupportedError{answer.Message}
	case answer.Status == Failed:
		return fail("%s", answer.Message)
	case answer.Status == OK, answer.Status == "" && verb == "describe" && answer.Name != "":
		if err != nil {
			return fail("it said ok, but %v", err)
		}
		return answer, nil
	}
	return fail("status %q: want ok, unsupported or error", answer.Status)
}

var errFlood = errors.New("too much output")

// bounded keeps the first bytes that are written to it; more are dropped, or an error.
type bounded struct {
	buf  bytes.Buffer
	most int
	drop bool
	// flooded says that there was more.
	flooded bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.buf.Len()
	if len(p) > room && !b.drop {
		b.flooded = true
		return 0, errFlood
	}
	b.buf.Write(p[:min(len(p), room)])
	return len(p), nil
}

// bogus is a feature that nobody has.
const bogus = "no-such-feature"

// Honest asks for an instance with a feature that does not exist. An adapter that accepts it cannot be believed in anything.
func (a Adapter) Honest(ctx context.Context, dir string, config any) error {
	raw, err := json.Marshal(config)
	fields := map[string]any{}
	if err == nil {
		err = json.Unmarshal(raw, &fields)
	}
	if err != nil {
		return err
	}
	fields["require"] = []string{bogus}
	raw, err = json.Marshal(fields)
	if err != nil {
		return err
	}
	_, err = a.Do(ctx, Request{Verb: "start", Dir: dir, Config: raw})
	if _, unsupported := errors.AsType[*UnsupportedError](err); unsupported {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asked for the feature %q, which does not exist, it must answer unsupported: %w", bogus, err)
	}
	_, stopped := a.Do(ctx, Request{Verb: "stop", Dir: dir})
	return errors.Join(fmt.Errorf("adapter %s is refused: it started an instance with the feature %q, which does not exist", a.Command[0], bogus), stopped)
}
