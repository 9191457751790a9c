package conformance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Setup is a configuration that a check needs and the fixture's is not. The check is then put to an instance of its own, over the paths
// that lead to the target without a load balancer in between.
type Setup struct {
	// Name is what the instance is called in timelines. Checks whose setups have the same name share an instance, unless Alone is set.
	Name string
	// Change makes the document from the fixture's, whose Listen is a free port of loopback.
	Change func(f Fixture, doc *door.Router)
	// Alone asks for an instance that no other check sees, since this one reloads, drains or hurts it.
	Alone bool
}

// Launcher starts instances of the target beside the one that its paths lead to. A target that cannot be started, such as something that
// runs already, has none, and checks with a setup are NOT-RUN.
type Launcher interface {
	// Document is the fixture's configuration of the target; its Listen picks a port.
	Document() door.Router
	// Launch starts one. An *[UnsupportedError] says that the target cannot be set up so.
	Launch(ctx context.Context, doc door.Router) (Instance, error)
}

// Instance is a target that was started for a check. An *[UnsupportedError] of its methods is the target's own word.
type Instance interface {
	// Address is where it listens, Admin its admin port, empty when it has none.
	Address() string
	Admin() string
	// PID is 0 when unknown, and that of the harness when the target runs in it.
	PID() int
	// Reload returns when the new configuration is in force. Listen stays what it is.
	Reload(ctx context.Context, doc door.Router) error
	// Drain begins to; it does not wait for tunnels.
	Drain(ctx context.Context) error
	Logs(ctx context.Context) (string, error)
	Stop(ctx context.Context) error
}

// Running is the instance of a check with a Setup.
type Running struct {
	Instance
	// Document is what it was started with.
	Document door.Router
}

// launchTime bounds the start of an instance, and its stop.
const launchTime = 30 * time.Second

// instances are those of a run.
type instances struct {
	launcher Launcher

	mu     sync.Mutex // guards what follows
	shared map[string]*sharedInstance
}

// sharedInstance is started by the first check that needs it.
type sharedInstance struct {
	start sync.Once
	*Running
	err error
}

// forCheck returns the instance that a check is put to, and a function that gives it back.
func (s *instances) forCheck(ctx context.Context, c Check, f Fixture) (*Running, func(), error) {
	setup := c.Setup
	if setup.Alone {
		r, err := s.launch(ctx, setup, f)
		if err != nil {
			return nil, nil, err
		}
		return r, func() { s.stop(r) }, nil
	}
	i := s.named(setup.Name)
	i.start.Do(func() { i.Running, i.err = s.launch(ctx, setup, f) })
	return i.Running, func() {}, i.err
}

func (s *instances) named(name string) *sharedInstance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		s.shared = map[string]*sharedInstance{}
	}
	if s.shared[name] == nil {
		s.shared[name] = &sharedInstance{}
	}
	return s.shared[name]
}

func (s *instances) launch(ctx context.Context, setup *Setup, f Fixture) (*Running, error) {
	if s.launcher == nil {
		return nil, &NotRunError{"the target is one that cannot be started with another configuration"}
	}
	doc := s.launcher.Document()
	setup.Change(f, &doc)
	ctx, cancel := context.WithTimeout(ctx, launchTime)
	defer cancel()
	i, err := s.launcher.Launch(ctx, doc)
	if err != nil {
		return nil, fmt.Errorf("starting an instance (%s): %w", setup.Name, err)
	}
	doc.Listen = i.Address()
	return &Running{Instance: i, Document: doc}, nil
}

// stop does not heed the run's end: what was started is stopped.
func (s *instances) stop(r *Running) {
	ctx, cancel := context.WithTimeout(context.Background(), launchTime)
	defer cancel()
	_ = r.Stop(ctx) // one that the check has ended already, or that hangs; the verdict is about something else
}

func (s *instances) stopAll() {
	var wg sync.WaitGroup
	for _, i := range s.shared {
		if i.Running != nil {
			wg.Go(func() { s.stop(i.Running) })
		}
	}
	wg.Wait()
}

// at is the path to an instance: as the target's own, but to its address.
func (r *Running) at(p Path) *Path {
	p.Address = r.Address()
	return &p
}
