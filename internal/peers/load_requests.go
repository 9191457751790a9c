//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
)

// closedLoop has each connection do op after op, and counts them in the window.
func closedLoop(ctx context.Context, j job, connect func(*opener) (op func() error, err error)) (sample, error) {
	o, err := newOpener(j)
	if err != nil {
		return sample{}, err
	}
	ops := make([]func() error, j.Conns)
	for i := range ops {
		if ops[i], err = connect(o); err != nil {
			return sample{}, err
		}
	}
	var done atomic.Int64
	failed := make(chan error, j.Conns)
	for _, op := range ops {
		go func() { // ends with the process, unless it fails
			for {
				if err := op(); err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		}()
	}
	from, to, s, err := window(ctx, j, done.Load)
	s.Ops = to - from
	select {
	case broken := <-failed:
		err = errors.Join(err, broken)
	default:
	}
	if err == nil && s.Ops == 0 {
		err = errors.New("nothing was done in the window")
	}
	return s, err
}

// requests sends one request after the other on connections that stay.
func requests(ctx context.Context, j job) (sample, error) {
	return closedLoop(ctx, j, func(o *opener) (func() error, error) {
		t, err := o.handshake()
		if err != nil {
			return nil, err
		}
		answers := bufio.NewReader(t)
		request := []byte("GET /bench HTTP/1.1\r\nHost: " + o.config.ServerName + "\r\nUser-Agent: peers\r\nAccept: */*\r\n\r\n")
		return func() error {
			if _, err := t.Write(request); err != nil {
				return err
			}
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, answer.Body)
			err = errors.Join(err, answer.Body.Close())
			if err == nil && (answer.StatusCode != http.StatusOK || n != int64(len(httpBody))) {
				err = fmt.Errorf("answered %s with %d bytes", answer.Status, n)
			}
			return err
		}, nil
	})
}

// echoes sends one message after the other through upgraded tunnels.
func echoes(ctx context.Context, j job) (sample, error) {
	return closedLoop(ctx, j, func(o *opener) (func() error, error) {
		t, err := o.open()
		if err != nil {
			return nil, err
		}
		b := make([]byte, message)
		return func() error { return echoOne(t, b) }, nil
	})
}

// openUpgraded opens a tunnel through the balancer, and returns when it has carried an echo.
func (o *opener) openUpgraded() (tunnel, error) {
	t, err := o.handshake()
	if err != nil {
		return nil, err
	}
	if err = askUpgrade(t, o.config.ServerName, "websocket"); err == nil {
		err = echoOne(t, make([]byte, message))
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return t, nil
}
