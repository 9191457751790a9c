//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// bulk moves as much as goes on each of the job's connections.
func bulk(ctx context.Context, j job) (sample, error) {
	o, err := newOpener(j)
	if err != nil {
		return sample{}, err
	}
	var moved atomic.Int64
	failed := make(chan error, j.Conns)
	for range j.Conns {
		t, err := o.open()
		if err != nil {
			return sample{}, err
		}
		s, ok := t.(socket)
		if !ok {
			return sample{}, errors.New("bulk is of sockets")
		}
		go func() { failed <- pump(s, j.Kind, &moved) }() // ends with the process, as do its connections
	}
	from, to, s, err := window(ctx, j, moved.Load)
	s.Bytes = to - from
	select {
	case broken := <-failed:
		err = errors.Join(err, fmt.Errorf("a connection ended early: %w", broken))
	default:
	}
	if err == nil && s.Bytes == 0 {
		err = errors.New("nothing moved")
	}
	return s, err
}

func pump(s socket, kind string, moved *atomic.Int64) error {
	b := make([]byte, chunk)
	for {
		var n int
		var err error
		if kind == kindUpload {
			n, err = s.Write(b)
		} else {
			n, err = s.discard(b)
		}
		moved.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

// transfer moves exactly so many bytes and returns when the backend has them all. What the router read and wrote
// meanwhile is in Copied.
func transfer(_ context.Context, j job) (sample, error) {
	o, err := newOpener(j)
	if err != nil {
		return sample{}, err
	}
	t, err := o.open()
	if err != nil {
		return sample{}, err
	}
	defer t.close()
	before, err := j.PIDs.Hold()
	if err != nil {
		return sample{}, err
	}
	b := make([]byte, chunk)
	if _, err := rand.Read(b); err != nil {
		return sample{}, err
	}
	s := sample{}
	begin := time.Now()
	for s.Bytes < j.Bytes {
		n, err := t.Write(b[:min(int64(len(b)), j.Bytes-s.Bytes)])
		s.Bytes += int64(n)
		if err != nil {
			return s, err
		}
	}
	// The backend reads to the end and then closes, so its end coming back says that it has everything.
	if err := t.(interface{ finish() error }).finish(); err != nil {
		return s, err
	}
	if _, err := t.Read(b); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("the backend's end: %w", err)
	}
	s.Seconds = time.Since(begin).Seconds()
	after, err := j.PIDs.Hold()
	s.Copied = max(after.Read-before.Read, after.Written-before.Written)
	return s, err
}
