package bench

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"
)

// kind is one kind of load; each is one file, workload_<name>.go, that registers itself.
type kind struct {
	name    string
	backend string   // the kind of backend that it speaks to
	options []option // of its own
	// opens says that each exchange has a tunnel of its own, so that there are arrivals of new tunnels alone; nil is never.
	opens func(Shape) bool
	// check judges a shape with its defaults; nil takes all. Its error is an *OptionError.
	check func(Shape) error
	make  func(Shape) workload
}

// option is one of a kind's own: its name and its default, in words and filled in where a shape has none.
type option struct {
	name, def string
	fill      func(*Shape)
}

func always(Shape) bool { return true }

// workload is a kind with its options.
type workload interface {
	// Open logs in on conn and returns the session, which owns conn from then on; on an error conn stays the caller's.
	// Open need not watch ctx while it reads and writes: when ctx ends, the caller unblocks conn by a deadline in the past.
	Open(ctx context.Context, conn net.Conn, access Access) (session, error)
}

// session is one client on one tunnel. It is used by one goroutine at a time.
type session interface {
	// Do is one measured request with a checked answer: what came back is compared, not only counted. After an error
	// the session is closed, for nobody knows what is still under way on it. Of ctx the same holds as for Open.
	Do(ctx context.Context) error
	// Close ends the session and conn, within a second or so.
	Close() error
}

// verifier is what a session may have besides: a check that is made once on each lasting tunnel, before the measurement.
type verifier interface {
	Verify(ctx context.Context) error
}

// mover is what a session may have besides: how many bytes of payload the last Do moved and compared, in both directions.
type mover interface {
	Moved() int64
}

// closeTimeout bounds a polite goodbye, which is not measured but is waited for.
const closeTimeout = time.Second

var workloads = map[string]kind{}

func register(k kind) {
	if _, dup := workloads[k.name]; dup || k.name == "" || k.backend == "" || k.make == nil {
		panic("bench: workload registered twice or without a name, a backend or a maker: " + k.name)
	}
	workloads[k.name] = k
}

func lookup(name string) (kind, error) {
	k, ok := workloads[name]
	if !ok {
		return kind{}, optionErrorf("name", "no workload is called %q; %s", name, Catalogue())
	}
	return k, nil
}

// WorkloadBackend is the kind of backend that a workload speaks to, "" when there is no such workload.
func WorkloadBackend(name string) string { return workloads[name].backend }

// WorkloadNames lists the workloads, sorted.
func WorkloadNames() []string { return slices.Sorted(maps.Keys(workloads)) }

// past is a deadline that unblocks every read and write.
var past = time.Unix(1, 0)

// tunnel is a session with the connection under it.
type tunnel struct {
	conn net.Conn
	sess session
	// Where a loop has the tunnel (loop_linux.go): the bottom of conn, and sess.
	polled *pollable
	halves splitter
}

// openTunnel dials and logs in. ready is called between the two.
func openTunnel(ctx context.Context, dial Dial, w workload, access Access, observe func(string, time.Duration), ready func(net.Conn) error) (*tunnel, error) {
	conn, err := dial(ctx, observe)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if err := ready(conn); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("dial: %w", err)
	}
	stop := unblock(ctx, conn)
	sess, err := w.Open(ctx, conn, access)
	stop()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open: %w", err)
	}
	return &tunnel{conn: conn, sess: sess}, nil
}

// close says goodbye within closeTimeout and closes the connection whatever comes of that.
func (t *tunnel) close() {
	_ = t.conn.SetDeadline(time.Now().Add(closeTimeout))
	_ = t.sess.Close()
	_ = t.conn.Close()
}

// abort closes a tunnel that failed, without goodbyes: arrivals are waiting behind it.
func (t *tunnel) abort() {
	_ = t.conn.SetDeadline(past)
	_ = t.sess.Close()
	_ = t.conn.Close()
}

// unblock turns the end of ctx into a deadline in the past. The deadline stays: the tunnel is of no more use. The function
// returned takes the watch off and, when the deadline was just being set, waits for that, so that nothing comes late. It
// says whether the deadline was set: the tunnel is then spoiled, even if the last request came through just before.
func unblock(ctx context.Context, conn net.Conn) (stop func() (spoiled bool)) {
	done := make(chan struct{})
	off := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(past)
	})
	return func() bool {
		if off() {
			return false
		}
		<-done
		return true
	}
}
