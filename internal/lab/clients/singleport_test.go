package clients

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// services are those of scenarios/single-port.yaml, by the ports that they used to need, each with its own client.
var services = []struct {
	port, name string
	steps      func(s *session)
}{
	{"3022", "ssh-node", func(s *session) { login(s, "ssh-node", "node") }},
	{"3023", "ssh-proxy", func(s *session) { login(s, "ssh-proxy", "proxy") }},
	{"3024", "reverse-tunnel", reverseTunnel},
	{"3025", "auth", authAPI},
	{"3026", "kube", func(s *session) { pods(s, "kube", "kube-proxy") }},
	{"3027", "kube-agent", func(s *session) { pods(s, "kube-agent", "kube-service") }},
	{"3036", "mysql", func(s *session) {
		argv := s.mysqlArgs("mysql", "-Ne", "select 40 + 2", s.lab.backend("mysql").Database)
		s.run(step{name: "a query", argv: argv, env: s.mysqlEnv(), prints: `^42\n$`})
	}},
	{"3080", "web", func(s *session) {
		url := "http://127.0.0.1:" + s.port("http", "web", "web-ui") + "/web"
		s.run(step{name: "a page", argv: []string{"curl", "-sS", "-H", "Host: web.example.test", url}, prints: `"backend":"web-ui".*"path":"/web"`, figures: fromPort})
	}},
	{"5432", "postgres", func(s *session) {
		s.run(step{name: "a query", argv: []string{"psql", "-XAtc", "select 40 + 2"}, env: s.pgEnv(), prints: `^42\n$`})
	}},
}

func TestSinglePort(t *testing.T) {
	err := installed(map[string]string{
		"ssh": "openssh-client", "curl": "curl", "kubectl": "kubernetes-client", "mysql": "mariadb-client", "psql": "postgresql-client",
	})
	if err != nil {
		t.Fatal(err)
	}
	l := serve(t, "single-port")
	for _, service := range services {
		t.Run(service.port+"-"+service.name, func(t *testing.T) {
			t.Parallel()
			straight := newSession(t, l, "")
			service.steps(straight)
			for _, path := range []string{"direct", "alb-https"} {
				t.Run(path, func(t *testing.T) {
					t.Parallel()
					s := newSession(t, l, path)
					service.steps(s)
					s.compare(straight)
				})
			}
		})
	}
}

// login runs a command behind a route. That it is the right server, its key says.
func login(s *session, route, backend string) {
	config := s.sshConfig(route, backend)
	for _, door := range doors {
		s.run(step{name: "a command " + door, argv: append(append([]string{"ssh"}, config...), door, "echo in; exit 7"), status: 7, prints: `^in\n$`})
	}
}

// pods shows what a cluster has, after something was put into it: the other cluster must not have that.
func pods(s *session, route, backend string) {
	kubectl := []string{"kubectl", "--kubeconfig", "/dev/null", "--cache-dir", s.dir, "--request-timeout", "60s", "--server"}
	if port := s.port("kube", route, backend); s.path == "" {
		kubectl = append(kubectl, "https://127.0.0.1:"+port, "--certificate-authority", s.lab.ready.CA.Inner,
			"--client-certificate", s.lab.ready.Client.Cert, "--client-key", s.lab.ready.Client.Key)
	} else {
		kubectl = append(kubectl, "http://127.0.0.1:"+port) // who it is, the proxy says
	}
	name := strings.ReplaceAll(s.unique(), "_", "-") + "-of-" + route
	s.masks = append(s.masks, name, "UNIQUE")
	pod := `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "` + name + `"}}`
	s.run(step{name: "a pod", argv: append(kubectl, "create", "--validate=false", "-f", "-"), stdin: pod, prints: `^pod/` + name + ` created\n$`})
	list := strings.FieldsSeq(s.run(step{
		name: "pods", argv: append(kubectl, "get", "pods", "-o", "name"), prints: `(?m)^pod/` + name + `$`,
		figures: regexp.MustCompile(`(?m)(^pod/at-.*\n)+`), // of the other paths
	}))
	for pod := range list {
		if strings.HasPrefix(pod, "pod/at-") && !strings.HasSuffix(pod, "-of-"+route) {
			s.t.Errorf("%s is in the cluster behind %s", pod, route)
		}
	}
	s.run(step{
		name: "exec", argv: append(kubectl, "exec", "-i", "web-0", "--", "cat"), stdin: "in and out", prints: `^in and out$`,
		// Now and then kubectl reads before it has made its streams, and complains of the empty message that opens each.
		figures: regexp.MustCompile(`\A(E\d.* Unknown stream id \d, discarding message\n)*`),
	})
}

// authAPI asks as gRPC does, over HTTP/2, by a port that carries bytes as they are: the proxy shows the client's certificate.
func authAPI(s *session) {
	url := "http://127.0.0.1:" + s.port("ssh", "auth", "auth-api") + "/proto.AuthService/Ping"
	s.run(step{
		name: "a call", argv: []string{"curl", "-sS", "--http2-prior-knowledge", "-H", "Host: auth", "-H", "TE: trailers", "-H", "Content-Type: application/grpc", "-d", "", url},
		prints: `"backend":"auth-api","method":"POST","path":"/proto.AuthService/Ping","proto":"HTTP/2.0"`, figures: fromPort,
	})
	if s.path == "" {
		return // the certificate is the router's business
	}
	saw := s.saw
	s.run(step{
		name: "nobody without a certificate", status: 3, says: `certificate required`, stdin: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		argv: []string{
			s.lab.program, "proxy", "ssh", "--stdio", "--router", s.lab.ready.Addresses[router(s.path)], "--sni", "teleport.example.test", "--alpn", "teleport-auth@lab",
			"--inner-ca", s.lab.ready.CA.Inner, "--outer-ca", s.lab.ready.CA.Outer,
		},
	})
	s.saw = saw
}

// allocated is what ssh says of a port that its server listens on for it.
var allocated = regexp.MustCompile(`^Allocated port (\d+) for remote forward`)

// reverseTunnel has the server reach a service of the client's, as agents behind a firewall are reached: ssh -R. On the server, bash connects.
func reverseTunnel(s *session) {
	service, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	defer service.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := service.Accept()
		if err == nil {
			var line string
			if line, err = bufio.NewReader(io.LimitReader(conn, 1000)).ReadString('\n'); err == nil {
				_, err = fmt.Fprintf(conn, "the agent got %s", line)
			}
			conn.Close()
		}
		served <- err
	}()
	config := s.sshConfig("reverse-tunnel", "tunnel")
	// localhost: sshd takes a port of ::1 or of 127.0.0.1, and the same of the other only where nobody else has it.
	const command = `read port && exec bash -c "exec 3<>/dev/tcp/localhost/$port; echo a call >&3; cat <&3"`
	cmd := exec.CommandContext(s.t.Context(), "ssh", append(config, "-R", "0:"+service.Addr().String(), "by-port", command)...)
	cmd.Env = []string{"HOME=" + s.dir, "LC_ALL=C.UTF-8"}
	var out strings.Builder
	cmd.Stdout = &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	said := bufio.NewReader(io.LimitReader(stderr, 10000))
	line, err := said.ReadString('\n')
	port := allocated.FindStringSubmatch(line)
	if port == nil {
		_ = cmd.Process.Kill()
		s.t.Fatalf("ssh -R says %q, %v", line, err)
	}
	_, err = fmt.Fprintln(stdin, port[1])
	rest, _ := io.ReadAll(said)
	if ended := cmd.Wait(); err != nil || ended != nil || out.String() != "the agent got a call\n" {
		s.t.Fatalf("ssh -R prints %q, says %q, %v, %v", out.String(), rest, err, ended)
	}
	if err := <-served; err != nil {
		s.t.Fatal(err)
	}
	s.note(outcome{Step: "a call to the agent", Stdout: out.String(), Stderr: string(rest)})
}
