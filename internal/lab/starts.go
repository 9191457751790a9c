package lab

import (
	"context"
	"sync"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

// starts are the starts of backends. Containers, which mostly wait, start side by side; all else starts in turn.
type starts struct {
	ctx     context.Context //nolint:containedctx // of all of them: the first that fails ends the others
	cancel  context.CancelCauseFunc
	group   sync.WaitGroup
	running []**backend.Running // in the order of the calls
}

func newStarts(ctx context.Context) *starts {
	s := &starts{}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// start returns when the backend is up, or at once for a container.
func (s *starts) start(driver string, f func(context.Context) (*backend.Running, error)) {
	slot := new(*backend.Running)
	s.running = append(s.running, slot)
	begin := func() {
		if s.ctx.Err() != nil {
			return
		}
		running, err := f(s.ctx)
		if err != nil {
			s.cancel(err)
			return
		}
		*slot = running
	}
	if driver == backend.Container {
		s.group.Go(begin)
		return
	}
	begin()
}

// wait returns when every start has come to its end: what runs, and the first error.
func (s *starts) wait() ([]*backend.Running, error) {
	s.group.Wait()
	err := context.Cause(s.ctx)
	s.cancel(nil)
	var up []*backend.Running
	for _, r := range s.running {
		if *r != nil {
			up = append(up, *r)
		}
	}
	return up, err
}

// BackendLogs are the ends of the logs of the servers behind the router, by backend; of those that have one.
func (l *Lab) BackendLogs(ctx context.Context) map[string][]byte {
	logs := map[string][]byte{}
	for _, b := range l.backends {
		if b.Log == nil {
			continue
		}
		text, err := b.Log(ctx)
		if err != nil {
			l.log.Warn("the log of a backend cannot be read", "backend", b.Info.Name, "error", err)
			continue
		}
		logs[b.Info.Name] = text
	}
	return logs
}
