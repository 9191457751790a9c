//go:build !unix

package netx

import "net"

// Refuse returns a loopback address at which nothing listens. Nothing keeps it so here.
func Refuse() (address string, release func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func() error { return nil }, l.Close()
}
