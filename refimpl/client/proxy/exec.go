package proxy

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
)

// reached is where a client on this host reaches a listener.
func reached(addr net.Addr) (host, port string) {
	host, port, _ = net.SplitHostPort(addr.String()) // of a listener: it is one
	switch ip := net.ParseIP(host); {
	case !ip.IsUnspecified():
	case ip.To4() != nil:
		host = "127.0.0.1"
	default:
		host = "::1"
	}
	return host, port
}

// Environment is what a client of this kind is to find in its environment to reach the local port at addr. PostgreSQL's and
// MySQL's own programs need nothing else; kubectl needs KUBECONFIG, a file with what Kubeconfig returns.
func (s *Server) Environment(addr net.Addr) []string {
	host, port := reached(addr)
	env := []string{"TLSROUTE_PROXY_HOST=" + host, "TLSROUTE_PROXY_PORT=" + port}
	switch s.Kind {
	case SSH: // has no variables of its own
	case HTTP, Kube:
		env = append(env, "TLSROUTE_PROXY_URL=http://"+net.JoinHostPort(host, port))
	case Database:
		p := protocol(s.Dialer.ALPN)
		if p != "mysql" {
			// PGHOSTADDR goes before PGHOST: one that was set already must not win.
			env = append(env, "PGHOST="+host, "PGHOSTADDR="+host, "PGPORT="+port, "PGGSSENCMODE=disable")
			if s.LocalTLS == nil {
				env = append(env, "PGSSLMODE=disable")
			} else {
				// libpq takes no offer of SCRAM-SHA-256-PLUS without TLS, and a server that sees TLS makes it.
				env = append(env, "PGSSLMODE=prefer", "PGCHANNELBINDING=disable")
			}
		}
		if p != "postgres" {
			env = append(env, "MYSQL_HOST="+host, "MYSQL_TCP_PORT="+port)
		}
	}
	return env
}

// Kubeconfig is a configuration for kubectl that leads to the local port at addr and nowhere else. It names no user: who it is,
// the Dialer's client certificate says.
func Kubeconfig(addr net.Addr) []byte {
	const name = "tlsroute"
	type object = map[string]any
	data, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []object{{"name": name, "cluster": object{"server": "http://" + net.JoinHostPort(reached(addr))}}},
		"contexts": []object{{"name": name, "context": object{"cluster": name, "user": name}}},
		"users":    []object{{"name": name, "user": object{}}},
	})
	if err != nil {
		panic(err) // strings in maps
	}
	return data
}

// Run starts cmd, passes signals on to it, and returns what cmd.Wait says. A terminal sends its own signals to all who are in
// the foreground, cmd too: those are not sent twice.
func Run(cmd *exec.Cmd, signals <-chan os.Signal) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case sig := <-signals:
			if !sentByTerminal(sig) {
				_ = cmd.Process.Signal(sig) // it may have ended
			}
		}
	}
}
