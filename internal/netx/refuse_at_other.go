//go:build !linux

package netx

// RefuseAt keeps nothing outside Linux: elsewhere a second socket does not get a port, whatever its options, that another has.
func RefuseAt(string) (release func() error, err error) { return func() error { return nil }, nil }
