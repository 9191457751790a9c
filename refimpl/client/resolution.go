package client

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// resolution times the look-up of a name within a dial, by the hooks that net.Dialer has for it. It is used once.
type resolution struct {
	mu          sync.Mutex // guards all below: a dial that is given up may leave a look-up under way
	began, done time.Time
}

func (r *resolution) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { r.note(&r.began) },
		DNSDone: func(i httptrace.DNSDoneInfo) {
			if i.Err == nil {
				r.note(&r.done)
			}
		},
	})
}

func (r *resolution) note(at *time.Time) {
	r.mu.Lock()
	*at = time.Now()
	r.mu.Unlock()
}

// took is how long it took, false when there was nothing to look up.
func (r *resolution) took() (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done.Sub(r.began), !r.began.IsZero() && !r.done.IsZero()
}
