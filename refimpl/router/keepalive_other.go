//go:build !linux

package router

import "net"

// listenConfig leaves keep-alive to net: not every system has an accepted socket take its listener's options.
func listenConfig() net.ListenConfig { return net.ListenConfig{} }

func setKeepAlive(int) error { return nil }
