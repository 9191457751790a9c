//go:build !linux

package splice

import "net"

// Elsewhere every tunnel is Join's.

type pair struct{ done func(Report) }

type poller struct{}

// Prepare returns conn as it is.
func Prepare(conn net.Conn) net.Conn { return conn }

func (*Loop) take(_, _ net.Conn) *Taken  { return nil }
func (*Loop) dial(net.Conn, Dial) *Taken { return nil }

func (*poller) add(*pair) {}
func (*poller) stop()     {}
