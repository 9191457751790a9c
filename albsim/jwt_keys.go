package albsim

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// How long a set of keys is believed, and how soon it is asked for again when a token names a key that is not in it: assumed, since
// AWS says of neither.
const (
	keysFresh = 5 * time.Minute
	keysAgain = 10 * time.Second
)

// keySet is the set at an endpoint, fetched by whoever needs it first. The others wait for that fetch.
type keySet struct {
	url string

	mu      sync.Mutex // guards what follows
	keys    map[string]*rsa.PublicKey
	fetched time.Time
	call    *keyCall // under way
}

type keyCall struct {
	done chan struct{} // closed behind err
	err  error
}

// key is the one of that name, or nil. A token without a name gets the only key there is.
func (k *keySet) key(ctx context.Context, s *Server, name string) (*rsa.PublicKey, error) {
	for {
		k.mu.Lock()
		age := time.Since(k.fetched)
		key := k.named(name)
		if k.keys != nil && (key != nil && age < s.scaled(keysFresh) || key == nil && age < s.scaled(keysAgain)) {
			k.mu.Unlock()
			return key, nil
		}
		if call := k.call; call != nil {
			k.mu.Unlock()
			select {
			case <-call.done:
				if call.err != nil && !errors.Is(call.err, context.Canceled) { // else who fetched has gone, and we do it
					return nil, call.err
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		call := &keyCall{done: make(chan struct{})}
		k.call = call
		k.mu.Unlock()

		keys, err := k.fetch(ctx, s)
		k.mu.Lock()
		if k.call = nil; err == nil {
			k.keys, k.fetched = keys, time.Now()
		}
		key = k.named(name)
		k.mu.Unlock()
		call.err = err
		close(call.done)
		return key, err
	}
}

// named is called with mu held.
func (k *keySet) named(name string) *rsa.PublicKey {
	if name == "" && len(k.keys) == 1 {
		for _, key := range k.keys {
			return key
		}
	}
	return k.keys[name]
}

func (k *keySet) fetch(ctx context.Context, s *Server) (map[string]*rsa.PublicKey, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	status, body, err := s.fetch(ctx, r, maxKeySet)
	if err != nil {
		return nil, fmt.Errorf("keys not fetched: %w", err)
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("keys not fetched: status %d", status)
	}
	keys, err := rsaKeys(body)
	if err != nil {
		return nil, fmt.Errorf("keys not understood: %w", err)
	}
	return keys, nil
}
