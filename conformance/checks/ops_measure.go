package checks

import (
	"context"
	"fmt"
	"os"
	"time"
)

// This file reads what a process holds. It is for checks that compare it before and after.

// descriptors counts the open ones of a process.
func descriptors(pid int) (int64, error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, fmt.Errorf("counting the descriptors of process %d: %w", pid, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return int64(len(names)), err
}

// settled polls until a value has not grown for a while, and returns it.
func settled(ctx context.Context, read func() (int64, error)) (int64, error) {
	most, err := read()
	for since := time.Now(); err == nil && time.Since(since) < quietFor; pause(ctx, 10*time.Millisecond) {
		var now int64
		if now, err = read(); now > most {
			most, since = now, time.Now()
		}
		if ctx.Err() != nil {
			return most, ctx.Err()
		}
	}
	return most, err
}
