package ours

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/tlsroute/tlsroute-bench/albsim"
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
)

// Balancers starts simulators of an AWS ALB in this process. It is a conformance.BalancerLauncher.
type Balancers struct {
	// Base is the document that checks change.
	Base door.Balancer
	// Change may spoil the changed document, for a mutant; nil leaves it.
	Change func(*door.Balancer)
}

var _ conformance.BalancerLauncher = Balancers{}

// Document is the base.
func (b Balancers) Document() door.Balancer { return b.Base.Copy() }

// Launch starts one.
func (b Balancers) Launch(ctx context.Context, doc door.Balancer) (string, func(context.Context) error, error) {
	if b.Change != nil {
		b.Change(&doc)
	}
	raw, err := json.Marshal(albDocument(doc))
	if err != nil {
		return "", nil, err
	}
	var c albsim.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", nil, err
	}
	s, err := albsim.New(c, albsim.Options{})
	if err != nil {
		return "", nil, err
	}
	if err := s.Listen(ctx); err != nil {
		return "", nil, err
	}
	serving, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(serving) }()
	stop := func(ctx context.Context) error {
		cut, cancel := context.WithCancel(ctx)
		cancel() // what is still there is cut
		err := s.Shutdown(cut)
		end()
		if served := <-done; !errors.Is(err, context.Canceled) {
			return errors.Join(err, served)
		}
		return nil
	}
	return s.Addrs()[0].String(), stop, nil
}
