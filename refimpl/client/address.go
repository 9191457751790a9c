package client

import (
	"fmt"
	"net"
	"strings"
)

// address is Dialer.Address taken apart.
type address struct {
	dial      string // host:port
	host      string
	port      string
	plaintext bool
}

func parseAddress(s string) (address, error) {
	a := address{port: "443"}
	rest := s
	switch {
	case strings.HasPrefix(s, "http://"):
		a.port, a.plaintext, rest = "80", true, s[len("http://"):]
	case strings.HasPrefix(s, "https://"):
		rest = s[len("https://"):]
	case strings.Contains(s, "://"):
		return a, fmt.Errorf("address %q: only http:// and https:// are understood", s)
	}
	rest = strings.TrimSuffix(rest, "/")
	if host, port, err := net.SplitHostPort(rest); err == nil {
		a.host = host
		if port != "" {
			a.port = port
		}
	} else {
		a.host = strings.TrimSuffix(strings.TrimPrefix(rest, "["), "]")
	}
	// It becomes a part of requests.
	control := func(r rune) bool { return r <= ' ' || r == 0x7f }
	if a.host == "" || strings.ContainsAny(a.host, "/?#@") || strings.ContainsFunc(rest, control) {
		return a, fmt.Errorf("address %q: want host:port", s)
	}
	a.dial = net.JoinHostPort(a.host, a.port)
	return a, nil
}

// hostField is the Host field for name.
func (a address) hostField(name string) string {
	if a.plaintext && a.port == "80" || !a.plaintext && a.port == "443" {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return net.JoinHostPort(name, a.port)
}
