package clients

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
)

// fromPort is the client's end of a connection, in what the server saw.
var fromPort = regexp.MustCompile(`"remote":"[0-9.]+:\d+"|(?m)^[Dd]ate: .*$`)

func curlSteps(s *session) {
	url := "http://127.0.0.1:" + s.port("http", "web", "web")
	body := strings.Repeat("0123456789äöü\r\n\x00", 60000)
	s.write("body", body)
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
	// The local port stands for the route's name, where a client names none (a Host field of its own goes through).
	curl := func(args ...string) []string {
		return append([]string{"curl", "-sS", "-m", "60", "-H", "Host: web.example.test"}, args...)
	}
	for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
		run := func(st step) {
			st.name += " with " + version
			st.argv, st.figures = append(curl(version), st.argv...), fromPort
			s.run(st)
		}
		run(step{name: "a request", argv: []string{"-i", "--path-as-is", "-H", "X-Own: one", "-H", "X-Own: two", url + "/a%2Fb/../c?q=1&q=%20"}, prints: `"path":"/a%2Fb/\.\./c\?`, unordered: true})
		run(step{name: "its head", argv: []string{"-I", url + "/"}, prints: `200`, unordered: true})
		run(step{name: "a form", argv: []string{"-X", "PATCH", "-d", "a=1&b=ä", url + "/form"}, prints: `"method":"PATCH"`})
		run(step{name: "a body of known size", argv: []string{"--data-binary", "@body", "-H", "Content-Type: application/octet-stream", url + "/sum"}, prints: sum})
		run(step{name: "a body of unknown size", argv: []string{"-T", "-", url + "/sum"}, stdin: body, prints: sum})
		run(step{name: "a download", argv: []string{"-w", "%{stderr}%{size_download}", url + "/bytes/1000000?seed=7"}, says: `^1000000$`})
		run(step{name: "a bad request", argv: []string{"-f", url + "/bytes/none"}, status: 22, says: `error: 400`})
	}
	// curl 7.88 begins HTTP/2 anew on a connection that has it, straight too.
	s.run(step{
		name: "two on one connection", argv: curl("-w", "%{num_connects}\n", url+"/1", url+"/2"), prints: `(?s)"/1".*\n1\n.*"/2".*\n0\n`, figures: fromPort,
	})
}
