package albsim

import (
	"net"
	"sync"
	"time"
)

// keepAlives touches a watchdog when either end of a flow has sent a TCP keep-alive. A socket does not tell of one: the
// kernel answers. But it counts the segments, and a probe is one that acknowledges nothing new.
type keepAlives struct {
	every time.Duration
	seen  func()

	mu    sync.Mutex // guards what follows
	legs  []*leg
	timer *time.Timer // nil when nothing is watched, or no longer
}

type leg struct {
	conn     *net.TCPConn
	segments uint32
	at       time.Time
}

// tickSlack is how coarse the kernel's time of the last acknowledgement is: a jiffy.
const tickSlack = 10 * time.Millisecond

// watchKeepAlives looks often enough for the timeout. Our own keep-alives must be off until we mean them: the answer to one
// would be taken for traffic by whoever watches us likewise.
func (f *flow) watchKeepAlives(dog *watchdog) *keepAlives {
	k := &keepAlives{every: min(f.idle()/20, 5*time.Second), seen: dog.touch}
	if !f.s.plan.profile.KeepAliveCounts || !seesKeepAlives {
		return k
	}
	for _, c := range []*meteredConn{f.client, f.target} {
		if conn, ok := below[*net.TCPConn](c); ok {
			k.legs = append(k.legs, &leg{conn: conn})
		}
	}
	if emit := f.s.plan.profile.EmitKeepAlive; f.tls != nil && emit > 0 {
		k.seen = func() {
			dog.touch()
			k.emit(max(time.Second, f.s.scaled(emit)))
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.legs {
		l.look()
	}
	k.timer = time.AfterFunc(k.every, k.check)
	return k
}

func (k *keepAlives) check() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer == nil {
		return
	}
	probed := false
	for _, l := range k.legs {
		probed = l.look() || probed
	}
	if probed {
		k.seen()
	}
	k.timer.Reset(k.every)
}

// look tells whether a keep-alive has come since the last look.
func (l *leg) look() bool {
	segments, silence, ok := segmentsIn(l.conn)
	if !ok {
		return false
	}
	since := time.Since(l.at)
	probed := segments != l.segments && silence > since+tickSlack
	l.segments, l.at = segments, time.Now()
	return probed
}

// emit begins to send keep-alives both ways. Their answers acknowledge, so they do not count.
func (k *keepAlives) emit(every time.Duration) {
	for _, l := range k.legs {
		// Fails on a socket that is gone: nothing to keep alive then.
		_ = l.conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: every, Interval: every, Count: 9})
	}
}

func (k *keepAlives) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
}
