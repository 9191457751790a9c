package process

import (
	"context"
	"net"
)

// Accepts tells whether something listens at each address, host:port; an empty one is none. The error is that of the first that fails.
func Accepts(ctx context.Context, addresses ...string) error {
	for _, address := range addresses {
		if address == "" {
			continue
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	return nil
}
