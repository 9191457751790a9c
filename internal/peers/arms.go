//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/procstat"
)

// What the routers are asked for: SERVICE.pass.test is passed through, SERVICE.term.test terminated.
const (
	passDomain  = ".pass.test"
	termDomain  = ".term.test"
	alpn        = "http/1.1"
	upgradePath = "/bench/upgrade"
)

// The routers under comparison, each in its own words.
const (
	ours          = "ours"
	haproxySplice = "haproxy-splice" // splice-request and splice-response; splice-auto never spliced uploads (2.6.12)
	haproxyPlain  = "haproxy"
	nginxPlain    = "nginx"
	nginx256k     = "nginx-256k"
)

var everyArm = []string{ours, haproxySplice, haproxyPlain, nginxPlain, nginx256k}

// arm is a router that runs.
type arm struct {
	process *process
	pids    procstat.Group
	// pass and term are its ports; the reference router has one for both.
	pass, term string
}

func (a *arm) address(via string) string {
	if via == viaTLS || via == viaBalancer {
		return a.term
	}
	return a.pass
}

// stage is what all arms share: the backend, the certificate and a folder.
type stage struct {
	dir, router string
	sink        *process
	// Services are the backend's addresses by name; the certificate is for *.term.test.
	Services        map[string]string
	Cert, Key, Both string
}

// newStage starts the backend. dir is the caller's to remove.
func newStage(dir, router string) (*stage, error) {
	st := &stage{dir: dir, Both: filepath.Join(dir, "both.pem")}
	var err error
	if st.router, err = filepath.Abs(router); err != nil {
		return nil, err
	}
	cert, err := certs.SelfSigned(certs.Leaf{CommonName: "bench", DNS: []string{"*" + termDomain}})
	if err != nil {
		return nil, err
	}
	if st.Cert, st.Key, err = certs.WritePEM(dir, "bench", cert); err != nil {
		return nil, err
	}
	var both []byte
	for _, file := range []string{st.Cert, st.Key} {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		both = append(both, data...)
	}
	if err := os.WriteFile(st.Both, both, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	if st.sink, err = start(syscall.SIGKILL, writer, self, roleSink); err != nil {
		return nil, err
	}
	go func() {
		<-st.sink.done
		writer.CloseWithError(io.ErrUnexpectedEOF)
	}()
	if err := json.NewDecoder(reader).Decode(&st.Services); err != nil {
		return nil, fmt.Errorf("sink: %w: %s", err, st.sink.out.text)
	}
	return st, nil
}

// start starts a router, or the balancer of that name, and returns when it takes connections.
func (st *stage) start(ctx context.Context, name string, balancer bool) (*arm, error) {
	dir, err := os.MkdirTemp(st.dir, name+"-")
	if err != nil {
		return nil, err
	}
	a := &arm{}
	for _, addr := range []*string{&a.pass, &a.term} {
		if *addr, err = freePort(); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "config")
	var text []byte
	var argv []string
	death := syscall.SIGTERM
	forHAProxy, forNginx := haproxyConfig, nginxConfig
	if balancer {
		forHAProxy, forNginx = haproxyBalancer, nginxBalancer
	}
	switch name {
	case ours:
		a.term = a.pass
		command, document := "router", st.document
		if balancer {
			command, document = "alb", st.balancer
		}
		text, err = document(a.pass)
		argv, death = []string{st.router, command, "--config", config}, syscall.SIGKILL
	case haproxySplice, haproxyPlain:
		text, err = st.fill(forHAProxy, a, name == haproxySplice, "")
		argv = []string{"haproxy", "-db", "-f", config}
	case nginxPlain, nginx256k:
		text, err = st.fill(forNginx, a, name == nginx256k, dir)
		argv = []string{"nginx", "-p", dir, "-c", config, "-e", "stderr"}
	default:
		err = fmt.Errorf("unknown router %q", name)
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	if a.process, err = start(death, nil, argv[0], argv[1:]...); err != nil {
		return nil, err
	}
	if err := a.ready(ctx, name); err != nil {
		a.process.stop()
		return nil, err
	}
	return a, nil
}

// ready waits until both ports take a connection and the workers of nginx are there.
func (a *arm) ready(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	for _, addr := range []string{a.pass, a.term} {
		for {
			c, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				c.Close()
				break
			}
			select {
			case <-a.process.done:
				return a.process.ended(name)
			case <-ctx.Done():
				return fmt.Errorf("%s does not listen on %s: %w", name, addr, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	for {
		a.pids = procstat.Family(a.process.cmd.Process.Pid)
		if !strings.HasPrefix(name, "nginx") || len(a.pids) == 1+workers {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s runs in %d processes, want %d", name, len(a.pids), 1+workers)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// document is our router's configuration (DESIGN.md, section 5).
func (st *stage) document(listen string) ([]byte, error) {
	type object map[string]any
	var routes []object
	for _, service := range services {
		for mode, domain := range map[string]string{"passthrough": passDomain, "terminate": termDomain} {
			routes = append(routes, object{
				"name": service + "-" + mode, "sni": []string{service + domain}, "mode": mode,
				"backend": object{"address": st.Services[service]},
			})
		}
	}
	return json.Marshal(object{
		"listen": listen, "certificates": []object{{"cert": st.Cert, "key": st.Key}}, "routes": routes,
		"tls":     object{"min_version": "1.3", "curves": []string{"X25519"}, "session_tickets": "off"},
		"upgrade": object{"path": upgradePath}, "drain": object{"timeout": "1s"},
	})
}

// workers are the threads of HAProxy and the processes of nginx, as many as the machine of the issue has cores.
const workers = 2

func (st *stage) fill(config string, a *arm, tuned bool, dir string) ([]byte, error) {
	t, err := template.New("").Parse(config)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		*stage
		Pass, Term, PassDomain, TermDomain, ALPN, Dir string
		Tuned                                         bool
		Workers                                       int
	}{st, a.pass, a.term, passDomain, termDomain, alpn, dir, tuned, workers})
	return b.Bytes(), err
}
