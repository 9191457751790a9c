package container_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeEngine is as much of a Docker engine as a start of one container talks to, at a Unix socket. What a test puts into answers comes
// instead of success.
type fakeEngine struct {
	socket string
	// answers by "METHOD path", where an id or a name in the path is "*".
	answers map[string]answer
	// creating, when set, is called while a container is being made.
	creating func()
	// ended is the state of a container that ends at once; running when nil.
	ended map[string]any
	log   string
	arch  string
	// others are containers of before.
	others []map[string]any
	// runs, when set, is called at the start of a container, with its command and where its ports are; what it returns is called at the end.
	runs func(command []string, at map[string]string) (end func())

	mu       sync.Mutex
	requests []string
	left     map[string]bool // containers that were made and not removed
	command  []string        // of the last that was made
	at       map[string]string
	end      func()
}

type answer struct {
	status int
	body   string
}

func refuse(status int, message string) answer {
	text, _ := json.Marshal(map[string]string{"message": message})
	return answer{status, string(text)}
}

func startFake(t *testing.T, f *fakeEngine) *fakeEngine {
	t.Helper()
	f.socket, f.left = filepath.Join(t.TempDir(), "s"), map[string]bool{}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return f
}

func (f *fakeEngine) host() string { return "unix://" + f.socket }

// count is how often something was asked for.
func (f *fakeEngine) count(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if r == request {
			n++
		}
	}
	return n
}

func (f *fakeEngine) leftovers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.left {
		names = append(names, name)
	}
	return names
}

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // what is made; an archive is longer
	_, _ = io.Copy(io.Discard, r.Body)
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if strings.HasPrefix(parts[0], "v1.") {
		parts = parts[1:]
	}
	name := ""
	if len(parts) > 1 && (parts[0] == "images" || parts[0] == "containers") && !slices.Contains([]string{"json", "create"}, parts[1]) {
		last := len(parts)
		if len(parts) > 2 {
			last--
		}
		name = strings.Join(parts[1:last], "/") // an image's name may have slashes
		parts = append([]string{parts[0], "*"}, parts[last:]...)
	}
	request := r.Method + " /" + strings.Join(parts, "/")
	f.mu.Lock()
	f.requests = append(f.requests, request)
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Api-Version", "1.41")
	if a, ok := f.answers[request]; ok {
		w.WriteHeader(a.status)
		fmt.Fprint(w, a.body)
		return
	}
	f.succeed(w, r, request, name, body)
}

// made notes what a container is to run, and where. f.mu is held.
func (f *fakeEngine) made(body []byte) {
	var made struct {
		Cmd        []string
		HostConfig struct {
			PortBindings map[string][]struct{ HostIP, HostPort string }
		}
	}
	if json.Unmarshal(body, &made) != nil {
		return
	}
	f.command, f.at = made.Cmd, map[string]string{}
	for port, on := range made.HostConfig.PortBindings {
		for _, b := range on {
			f.at[port] = net.JoinHostPort(b.HostIP, b.HostPort)
		}
	}
}

// stop ends what a container runs.
func (f *fakeEngine) stop() {
	f.mu.Lock()
	end := f.end
	f.end = nil
	f.mu.Unlock()
	if end != nil {
		end()
	}
}

func (f *fakeEngine) succeed(w http.ResponseWriter, r *http.Request, request, name string, body []byte) {
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch request {
	case "HEAD /_ping", "GET /_ping":
		fmt.Fprint(w, "OK")
	case "GET /info":
		reply(map[string]any{"ServerVersion": "20.10", "OperatingSystem": "fake", "OSType": "linux"})
	case "GET /version":
		reply(map[string]any{"Version": "20.10", "ApiVersion": "1.41", "Os": "linux", "Arch": runtime.GOARCH})
	case "GET /networks":
		reply([]map[string]any{{"Name": "bridge", "Id": "b"}})
	case "GET /images/*/json":
		reply(map[string]any{"Id": "sha256:feed", "Os": "linux", "Architecture": f.arch, "Config": map[string]any{"Entrypoint": []string{"docker-entrypoint.sh"}}})
	case "POST /images/create":
		fmt.Fprintln(w, `{"status":"done"}`)
	case "POST /containers/create":
		f.mu.Lock()
		f.left[r.URL.Query().Get("name")] = true
		f.made(body)
		f.mu.Unlock()
		if f.creating != nil {
			f.creating()
		}
		w.WriteHeader(http.StatusCreated)
		reply(map[string]any{"Id": strings.Repeat("c", 64)})
	case "POST /containers/*/start":
		if f.runs != nil {
			f.stop()
			f.mu.Lock()
			f.end = f.runs(f.command, f.at)
			f.mu.Unlock()
		}
		w.WriteHeader(http.StatusNoContent)
	case "GET /containers/*/json":
		state := map[string]any{"Running": true}
		if f.ended != nil {
			state = f.ended
		}
		reply(map[string]any{"Id": strings.Repeat("c", 64), "State": state, "Config": map[string]any{}, "HostConfig": map[string]any{}, "NetworkSettings": map[string]any{
			"Ports": map[string]any{
				"22/tcp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": "1"}}, "8000/tcp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": "1"}},
				"8001/tcp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": "2"}},
			},
		}})
	case "GET /containers/*/logs":
		w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
		_, _ = w.Write(append([]byte{2, 0, 0, 0, 0, 0, byte(len(f.log) >> 8), byte(len(f.log))}, f.log...)) // a frame of stderr
	case "GET /containers/json":
		reply(f.others)
	case "POST /containers/*/kill", "POST /containers/*/stop":
		f.stop()
		w.WriteHeader(http.StatusNoContent)
	case "DELETE /containers/*":
		f.stop()
		f.mu.Lock()
		delete(f.left, name)
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case "PUT /containers/*/archive":
	default:
		w.WriteHeader(http.StatusNotImplemented)
		reply(map[string]string{"message": "the fake engine does not know " + request})
	}
}
