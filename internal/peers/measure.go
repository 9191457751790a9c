//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// measure runs the rows that were chosen. A row that fails is in the results as far as it came, and in the error.
func measure(ctx context.Context, o options) (results []result, err error) {
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil { // nginx's workers are another user's
		return nil, err
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return nil, err
		}
	}
	st, err := newStage(dir, o.router)
	if err != nil {
		return nil, err
	}
	defer st.sink.stop()
	for _, r := range o.table(o) {
		if !o.rows.MatchString(r.name) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", r.name)
		samples, failed := st.row(ctx, r)
		if failed == nil && o.profile != "" {
			failed = st.record(ctx, r, filepath.Join(o.profile, strings.ReplaceAll(r.name, " ", "-")+".data"))
		}
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", r.name, failed))
		}
		results = append(results, r.results(samples)...)
	}
	return results, errors.Join(err, ctx.Err())
}

// row measures every router once a round, every other round backwards.
func (st *stage) row(ctx context.Context, r row) (map[string][]sample, error) {
	arms := map[string]*arm{}
	defer func() {
		for _, a := range arms {
			a.process.stop()
		}
	}()
	samples := map[string][]sample{}
	for round := range r.rounds {
		order := slices.Clone(r.arms)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			a := arms[name]
			if a == nil {
				var err error
				if a, err = st.start(ctx, name, r.balancer); err != nil {
					return samples, err
				}
				arms[name] = a
			}
			j := r.job
			j.Addr, j.PIDs = a.address(j.Via), a.pids
			var s sample
			var err error
			if r.counted {
				s, err = count(ctx, st.dir, j)
			} else {
				s, err = run(ctx, j)
			}
			if err != nil {
				return samples, fmt.Errorf("%s: %w", name, err)
			}
			samples[name] = append(samples[name], s)
			if r.fresh {
				a.process.stop()
				delete(arms, name)
			}
		}
	}
	return samples, nil
}

// record leaves a profile of our router at the row's work, which is not one of the row's samples.
func (st *stage) record(ctx context.Context, r row, file string) error {
	a, err := st.start(ctx, ours, r.balancer)
	if err != nil {
		return err
	}
	defer a.process.stop()
	j := r.job
	j.Addr, j.PIDs = a.address(j.Via), a.pids
	_, err = run(ctx, j, "perf", "record", "-q", "-F", "499", "-g", "-o", file, "-p", commas(j.PIDs), "--")
	return err
}
