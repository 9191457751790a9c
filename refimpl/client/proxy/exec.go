package proxy

import (
	"net"
	"os"
	"os/exec"
)

// Environment is what a client of this kind is to find in its environment to reach the local port at addr. PostgreSQL's and
// MySQL's own programs need nothing else.
func (s *Server) Environment(addr net.Addr) []string {
	host, port, _ := net.SplitHostPort(addr.String()) // of a listener: it is one
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = map[bool]string{true: "127.0.0.1", false: "::1"}[ip.To4() != nil]
	}
	env := []string{"TLSROUTE_PROXY_HOST=" + host, "TLSROUTE_PROXY_PORT=" + port}
	switch s.Kind {
	case HTTP, Kube:
		env = append(env, "TLSROUTE_PROXY_URL=http://"+net.JoinHostPort(host, port))
	case Database:
		p := protocol(s.Dialer.ALPN)
		if p != "mysql" {
			// PGHOSTADDR goes before PGHOST: one that was set already must not win.
			env = append(env, "PGHOST="+host, "PGHOSTADDR="+host, "PGPORT="+port, "PGSSLMODE=disable", "PGGSSENCMODE=disable")
		}
		if p != "postgres" {
			env = append(env, "MYSQL_HOST="+host, "MYSQL_TCP_PORT="+port)
		}
	}
	return env
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
