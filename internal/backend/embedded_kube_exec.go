package backend

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/coder/websocket"
)

// The subprotocols of exec, and the channels that their messages begin with; closeChannel is of v5 alone, and of v4 nobody can end
// stdin (KEP-4006; "Kubernetes API: exec", remotecommand).
const (
	execV4 = "v4.channel.k8s.io"
	execV5 = "v5.channel.k8s.io"

	stdinChannel  = 0
	stdoutChannel = 1
	stderrChannel = 2
	errorChannel  = 3
	closeChannel  = 255
)

// podExec is one command that is to run in a pod.
type podExec struct {
	command               []string
	stdin, stdout, stderr bool
}

// exec runs a command over whichever upgrade the client asks for.
func (k *kubeAPI) exec(w http.ResponseWriter, r *http.Request, namespace, name string) {
	p := k.pods.find(w, namespace, name)
	if p == nil {
		return
	}
	query := r.URL.Query()
	wants := func(name string) bool { yes, _ := strconv.ParseBool(query.Get(name)); return yes }
	e := podExec{command: query["command"], stdin: wants("stdin"), stdout: wants("stdout"), stderr: wants("stderr")}
	offered := strings.FieldsFunc(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), func(c rune) bool { return c == ',' || c == ' ' })
	switch upgrade := strings.ToLower(r.Header.Get("Upgrade")); {
	case !e.stdin && !e.stdout && !e.stderr, len(e.command) == 0:
		kubeFail(w, http.StatusBadRequest, "BadRequest", "you must specify a command, and at least 1 of stdin, stdout, stderr")
	case wants("tty"):
		kubeFail(w, http.StatusBadRequest, "BadRequest", "there are no terminals here: run the command without -t")
	case upgrade == "websocket" && slices.Contains(offered, execV5):
		k.pods.say(p, fmt.Sprintf("%s over WebSocket, %s", strings.Join(e.command, " "), execV5))
		e.overWebSocket(w, r, execV5)
	case upgrade == "websocket" && slices.Contains(offered, execV4):
		k.pods.say(p, fmt.Sprintf("%s over WebSocket, %s", strings.Join(e.command, " "), execV4))
		e.overWebSocket(w, r, execV4)
	case upgrade == "spdy/3.1" && slices.Contains(r.Header.Values(spdyProtocolField), execV4):
		k.pods.say(p, fmt.Sprintf("%s over SPDY/3.1, %s", strings.Join(e.command, " "), execV4))
		e.overSPDY(w, r)
	default:
		kubeFail(w, http.StatusBadRequest, "BadRequest", fmt.Sprintf("Upgrade request required: websocket with %s or %s, or SPDY/3.1 with %s; this is %q with %q",
			execV5, execV4, execV4, upgrade, slices.Concat(offered, r.Header.Values(spdyProtocolField))))
	}
}

// run runs the command, and returns what the error channel says of it.
func (e *podExec) run(stdin io.Reader, stdout, stderr io.Writer) []byte {
	status := KubeStatus{Status: "Success"}
	if code := runWords(e.command, stdin, stdout, stderr); code != 0 {
		number := strconv.FormatUint(uint64(code), 10)
		status = KubeStatus{
			Status: "Failure", Reason: "NonZeroExitCode", Message: "command terminated with non-zero exit code: exit status " + number,
			Details: &KubeDetails{Causes: []KubeCause{{Reason: "ExitCode", Message: number}}},
		}
	}
	text, _ := json.Marshal(status) // it is made of strings
	return text
}

func (e *podExec) overWebSocket(w http.ResponseWriter, r *http.Request, protocol string) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
	if err != nil {
		return // Accept has answered
	}
	c.SetReadLimit(maxMessage)
	stdin, feed := io.Pipe()
	fed := make(chan struct{})
	go func() { // ends with the connection
		defer close(fed)
		for {
			_, message, err := readMessage(r.Context(), c)
			switch {
			case err != nil:
				_ = feed.CloseWithError(err)
				return
			case len(message) == 0:
			case message[0] == stdinChannel:
				_, _ = feed.Write(message[1:]) // of a command that has ended it fails, and what comes is dropped
			case message[0] == closeChannel && len(message) == 2 && message[1] == stdinChannel && protocol == execV5:
				_ = feed.Close()
			}
		}
	}()
	channel := func(number byte, wanted bool) io.Writer {
		if !wanted {
			return io.Discard
		}
		return &execChannel{r, c, number}
	}
	in := io.Reader(stdin)
	if !e.stdin {
		in = strings.NewReader("")
	}
	stdout, stderr := channel(stdoutChannel, e.stdout), channel(stderrChannel, e.stderr)
	_, _ = stdout.Write(nil) // tells a client that the command has begun, as the real one does
	status := e.run(in, stdout, stderr)
	_ = stdin.Close()
	_, _ = channel(errorChannel, true).Write(status)
	_ = c.Close(websocket.StatusNormalClosure, "") // waits for the client's, so that no status is lost
	_ = c.CloseNow()
	<-fed
}

// execChannel sends messages of one channel.
type execChannel struct {
	r      *http.Request
	c      *websocket.Conn
	number byte
}

func (x *execChannel) Write(p []byte) (int, error) {
	if err := x.c.Write(x.r.Context(), websocket.MessageBinary, append([]byte{x.number}, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}
