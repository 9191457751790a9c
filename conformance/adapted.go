package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Adapted starts instances of a router through its adapter. It is a [Launcher].
type Adapted struct {
	Adapter door.Adapter
	// Fixture is the document that checks change.
	Fixture door.Router
	// Dir is where each instance gets a directory of its own.
	Dir string
}

var _ Launcher = Adapted{}

// Document is the fixture's.
func (a Adapted) Document() door.Router {
	doc := a.Fixture
	doc.Listen = "127.0.0.1:0"
	doc.Certificates, doc.Routes = slices.Clone(doc.Certificates), slices.Clone(doc.Routes)
	return doc
}

// Launch starts one.
func (a Adapted) Launch(ctx context.Context, doc door.Router) (Instance, error) {
	return Start(ctx, a.Adapter, a.Dir, doc)
}

// Start has an adapter start an instance; doc is a door.Router or a door.Balancer. Stop removes its directory.
func Start(ctx context.Context, adapter door.Adapter, parent string, doc any) (Instance, error) {
	dir, err := os.MkdirTemp(parent, "instance-")
	if err != nil {
		return nil, err
	}
	i := &adapted{adapter: adapter, dir: dir}
	answer, err := i.do(ctx, "start", doc)
	if err == nil && answer.Listen == "" {
		err = fmt.Errorf("adapter %s: its answer to start has no listen", adapter.Command[0])
	}
	if err != nil {
		if _, unsupported := errors.AsType[*UnsupportedError](err); !unsupported { // something may run all the same
			_, _ = i.do(ctx, "stop", nil)
		}
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	i.started = answer
	return i, nil
}

// adapted is an instance behind an adapter.
type adapted struct {
	adapter door.Adapter
	dir     string
	started door.Answer
}

func (a *adapted) do(ctx context.Context, verb string, doc any) (door.Answer, error) {
	r := door.Request{Verb: verb, Dir: a.dir}
	if doc != nil {
		raw, err := json.Marshal(doc)
		if err != nil {
			return door.Answer{}, err
		}
		r.Config = raw
	}
	return a.adapter.Do(ctx, r)
}

func (a *adapted) Address() string { return a.started.Listen }
func (a *adapted) Admin() string   { return a.started.Admin }
func (a *adapted) PID() int        { return a.started.PID }

func (a *adapted) Reload(ctx context.Context, doc door.Router) error {
	_, err := a.do(ctx, "reload", doc)
	return err
}

func (a *adapted) Drain(ctx context.Context) error {
	_, err := a.do(ctx, "drain", nil)
	return err
}

func (a *adapted) Logs(ctx context.Context) (string, error) {
	answer, err := a.do(ctx, "logs", nil)
	return answer.Text, err
}

func (a *adapted) Stop(ctx context.Context) error {
	_, err := a.do(ctx, "stop", nil)
	return errors.Join(err, os.RemoveAll(a.dir))
}
