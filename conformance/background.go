package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// The traffic beside the checks.
const (
	backgroundEvery   = time.Second // each tunnel's echoes
	backgroundMessage = 64          // bytes
	backgroundOpeners = 16          // tunnels opened at a time
	backgroundErrors  = 5           // told in full
)

// background is tunnels that carry traffic while the checks run.
type background struct {
	stop    context.CancelFunc
	wg      sync.WaitGroup
	opened  int
	trips   atomic.Int64
	failed  atomic.Int64
	pauses  atomic.Int64 // between two echoes, beyond what was meant; nanoseconds, the longest
	mu      sync.Mutex   // guards errs
	errs    []string
	tunnels []net.Conn
}

// startBackground opens n tunnels over the target's paths in turn, each to route a or, where the target ends no TLS, to route pass, and
// has each carry an echo a second, which is compared byte by byte, until stopped.
func startBackground(ctx context.Context, target *Target, n int, seed int64) (*background, error) {
	b := &background{}
	var paths []*Path // a tunnel that is late with its echo must not be cut for being idle
	for i := range target.Paths {
		if idle := target.Paths[i].IdleTimeout; idle == 0 || idle >= 10*backgroundEvery {
			paths = append(paths, &target.Paths[i])
		}
	}
	if len(paths) == 0 {
		return nil, errors.New("no path of the target may be silent for a few seconds")
	}
	ctx, b.stop = context.WithCancel(ctx)
	route := "a"
	if !slices.Contains(target.Features, "terminate") {
		route = "pass"
	}
	b.tunnels = make([]net.Conn, n)
	var failed [backgroundOpeners]error
	var opening sync.WaitGroup
	for w := range backgroundOpeners {
		opening.Go(func() {
			for i := w; i < n && failed[w] == nil && ctx.Err() == nil; i += backgroundOpeners {
				b.tunnels[i], failed[w] = openQuietly(ctx, target, paths[i%len(paths)], route, fmt.Sprintf("background-%x-%d", seed, i))
			}
		})
	}
	opening.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		b.end()
		return nil, fmt.Errorf("opening %d tunnels to carry traffic beside the checks: %w", n, err)
	}
	b.opened = n
	for i, conn := range b.tunnels {
		b.wg.Go(func() { b.carry(ctx, conn, rand.New(rand.NewPCG(uint64(seed), uint64(i)))) })
	}
	return b, nil
}

// openQuietly is T.Open and T.Ask without a trace: thousands of them are open for minutes. The machine is busy while they come.
func openQuietly(ctx context.Context, target *Target, path *Path, route, nonce string) (net.Conn, error) {
	t := &T{Target: target, Path: path, Transport: transport(*path), Nonce: nonce, rtt: 10 * waitFloor / waitRTTs, logger: discard}
	conn, err := t.Open(ctx, route)
	if err == nil {
		_, err = t.Ask(conn, witness.Order{Nonce: nonce})
	}
	if err != nil {
		t.closeAll()
		return nil, err
	}
	return conn, nil
}

func (b *background) carry(ctx context.Context, conn net.Conn, random *rand.Rand) {
	sent, got := make([]byte, backgroundMessage), make([]byte, backgroundMessage)
	timer := time.NewTimer(time.Duration(random.Int64N(int64(backgroundEvery))))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		begun := time.Now()
		conn.SetDeadline(begun.Add(checkTimeout))
		_, err := conn.Write(sent)
		if err == nil {
			_, err = io.ReadFull(conn, got)
		}
		if err == nil && !bytes.Equal(sent, got) {
			err = fmt.Errorf("sent %s, got %s", hex.EncodeToString(sent), hex.EncodeToString(got))
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.fail(err)
			return
		}
		b.trips.Add(1)
		took := int64(time.Since(begun))
		for longest := b.pauses.Load(); took > longest && !b.pauses.CompareAndSwap(longest, took); longest = b.pauses.Load() {
		}
		timer.Reset(backgroundEvery)
	}
}

func (b *background) fail(err error) {
	b.failed.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errs) < backgroundErrors {
		b.errs = append(b.errs, err.Error())
	}
}

// end closes the tunnels and says what they have carried.
func (b *background) end() *result.Background {
	b.stop()
	for _, conn := range b.tunnels {
		if conn != nil {
			conn.SetDeadline(time.Unix(1, 0)) // ends what is under way, and lets Close wait for nobody
		}
	}
	b.wg.Wait()
	for _, conn := range b.tunnels {
		if conn != nil {
			conn.Close()
		}
	}
	return &result.Background{
		Tunnels: b.opened, Trips: b.trips.Load(), Failed: int(b.failed.Load()), LongestNS: b.pauses.Load(), Errors: b.errs,
	}
}
