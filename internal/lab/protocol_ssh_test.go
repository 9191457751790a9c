package lab

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/scenario"
	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// sshTopology is every way to one server, which wants new keys after every MiB. The load balancer hasty cuts
// what has been idle for two seconds.
const sshTopology = `
name: ssh
topology:
  paths: [direct, alb-https, alb-http, nlb-tcp, hasty]
  load_balancers:
    alb: {}
    nlb: {protocol: TCP}
    hasty: {attributes: {idle_timeout.timeout_seconds: 2}}
backends: [{name: ssh, kind: ssh, config: [RekeyLimit 1M]}]
routes: [{name: ssh, sni: [ssh.example.test], alpn: [teleport-proxy-ssh], mode: terminate, backend: ssh}]
`

// sshRekey is what either side lets go through under the same keys.
const sshRekey = 1 << 20

// sshLab is that topology.
type sshLab struct{ *Lab }

// TestSSHOverEveryPath holds SSH, spoken by a client with a real server, to what it is without anything in between: one topology, every path,
// every case.
func TestSSHOverEveryPath(t *testing.T) {
	l := sshLab{startReal(t, sshTopology)}
	cases := []struct {
		name string
		run  func(*testing.T, sshLab, string)
	}{
		{"host certificate", sshHostCertificate},
		{"exec", sshExec},
		{"terminal", sshTerminal},
		{"sftp", sshFiles},
		{"forwarding", sshForwarding},
		{"new keys under load", sshNewKeys},
	}
	t.Run("paths", func(t *testing.T) { // returns when those that run side by side have
		for _, path := range []string{scenario.PathDirect, scenario.PathALBHTTPS, scenario.PathALBHTTP, scenario.PathNLBTCP} {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				for _, c := range cases {
					t.Run(c.name, func(t *testing.T) { c.run(t, l, path) })
				}
			})
		}
		t.Run("keep-alive", func(t *testing.T) {
			t.Parallel()
			sshKeepAlive(t, l)
		})
	})
}

// config trusts the host by the authority of its certificate; keyed counts the key exchanges.
func (l sshLab) config(keyed *atomic.Int32) *ssh.ClientConfig {
	a := l.backend("ssh").Access
	checker := ssh.CertChecker{IsHostAuthority: func(ca ssh.PublicKey, _ string) bool {
		return a.HostCA != nil && bytes.Equal(ca.Marshal(), a.HostCA.Marshal())
	}}
	return &ssh.ClientConfig{
		User: a.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(a.ClientKey)}, HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01},
		HostKeyCallback: func(name string, remote net.Addr, key ssh.PublicKey) error {
			keyed.Add(1)
			return checker.CheckHostKey(name, remote, key)
		},
	}
}

// dial opens a tunnel over a path and a session in it, with a host that is asked for by name.
func (l sshLab) dial(t *testing.T, path, name string, config *ssh.ClientConfig, change func(*client.Dialer)) (*ssh.Client, error) {
	t.Helper()
	d, err := l.Dialer(path, "ssh")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := d.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	sc, channels, requests, err := ssh.NewClientConn(conn, name+":22", config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := ssh.NewClient(sc, channels, requests)
	// What waits for the other side in vain ends before the test binary does.
	late := time.AfterFunc(5*time.Minute, func() { _ = c.Close() })
	t.Cleanup(func() {
		late.Stop()
		_ = c.Close() // the server may have gone first
		_ = c.Wait()
	})
	return c, nil
}

// connect is a session that must come about.
func (l sshLab) connect(t *testing.T, path string) *ssh.Client {
	t.Helper()
	c, err := l.dial(t, path, "ssh.example.test", l.config(new(atomic.Int32)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sshSession is a channel of c.
func sshSession(t *testing.T, c *ssh.Client) *ssh.Session {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a command that has ended closed it
	return s
}
