package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// preparer is what a workload may have besides: what has to be in its backend before the first tunnel. It is made over the first arm,
// once for each route, and by several processes at once where there are several: what is there already stays.
type preparer interface {
	// Prepare owns conn from the call on.
	Prepare(ctx context.Context, conn net.Conn, access Access) error
}

// prepareTimeout bounds the filling of tables: some ten megabytes.
const prepareTimeout = 2 * time.Minute

// prepareBackend lets the workload put into its backend what it needs.
func (r *run) prepareBackend(ctx context.Context) error {
	a := r.arms[0]
	p, ok := a.workload.(preparer)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	for i, dial := range a.dials {
		conn, err := dial(ctx, func(string, time.Duration) {})
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		stop := unblock(ctx, conn)
		err = p.Prepare(ctx, conn, a.shares[i].Access)
		stop()
		_ = conn.Close() // Prepare has closed it already
		if err != nil {
			return fmt.Errorf("prepare the backend: %w", err)
		}
	}
	return nil
}

// needsServer is the error of a server that plays a protocol and has nothing behind it.
func needsServer(what, product string, err error) error {
	return fmt.Errorf("%s needs a real %s (run with --backends local or container): %w", what, product, err)
}

// drawer is what a workload may have besides: it draws at random, each session from a generator of its own that new returns. They
// depend on seed, workload and process, not on the arm.
type drawer interface {
	drawing(draws func() *rand.Rand) workload
}

// draws are the generators of one arm's sessions, by their order.
func (r *run) draws() func() *rand.Rand {
	var n atomic.Int64
	return func() *rand.Rand { return stream(r.plan.Seed, "%s/draw/%d/%d", r.label, r.plan.Shard, n.Add(1)) }
}
