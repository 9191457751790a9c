package backend

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/moby/spdystream"
)

const (
	spdyProtocolField = "X-Stream-Protocol-Version"
	// spdyParting bounds how long a client may take to leave after it was told the status.
	spdyParting = 5 * time.Second
)

// overSPDY runs the command over one connection with a stream for each of stdin, stdout, stderr and the status.
func (e *podExec) overSPDY(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		kubeFail(w, http.StatusBadRequest, "BadRequest", "HTTP/2 has no upgrade: "+err.Error())
		return
	}
	defer conn.Close()
	defer context.AfterFunc(r.Context(), func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n%s: %s\r\n\r\n", spdyProtocolField, execV4); err != nil {
		return
	}
	session, err := spdystream.NewConnection(&aheadConn{&idleConn{conn, idleTimeout}, buffered.Reader}, true)
	if err != nil {
		return
	}
	opened, served := make(chan *spdystream.Stream, 4), make(chan struct{})
	go func() {
		defer close(served)
		session.Serve(func(s *spdystream.Stream) {
			if s.SendReply(http.Header{}, false) != nil {
				return
			}
			select {
			case opened <- s:
			default:
				_ = s.Reset()
			}
		})
	}()
	streams := e.streams(opened, served)
	if streams["error"] != nil {
		status := e.run(streams.reader("stdin"), streams.writer("stdout"), streams.writer("stderr"))
		for _, name := range []string{"stdout", "stderr"} {
			if s := streams[name]; s != nil {
				_ = s.Close()
			}
		}
		_, _ = streams["error"].Write(status)
		_ = streams["error"].Close()
		// The client leaves when it has the status. Closing before it does may cost it the status: what it still sends meets a closed socket.
		parting := time.NewTimer(spdyParting)
		defer parting.Stop()
		select {
		case <-served:
		case <-parting.C:
		}
	}
	for _, s := range streams {
		_ = s.Reset()
	}
	_ = session.Close() // says goodbye, where the client has not
	conn.Close()
	<-served
	_ = session.Wait(0) // for what began with either's goodbye: without streams it does nothing more
}

// execStreams are those of one command, by their type.
type execStreams map[string]*spdystream.Stream

// streams waits until the client has opened all that it said it would; without them there is no stream called error.
func (e *podExec) streams(opened <-chan *spdystream.Stream, served <-chan struct{}) execStreams {
	missing := map[string]bool{"error": true}
	for name, wanted := range map[string]bool{"stdin": e.stdin, "stdout": e.stdout, "stderr": e.stderr} {
		if wanted {
			missing[name] = true
		}
	}
	streams := execStreams{}
	late := time.NewTimer(loginTimeout)
	defer late.Stop()
	for len(missing) > 0 {
		select {
		case s := <-opened:
			name := s.Headers().Get("streamType")
			if !missing[name] {
				_ = s.Reset()
				continue
			}
			delete(missing, name)
			streams[name] = s
		case <-served:
			return execStreams{}
		case <-late.C:
			return execStreams{}
		}
	}
	return streams
}

func (s execStreams) reader(name string) io.Reader {
	if stream := s[name]; stream != nil {
		return stream
	}
	return strings.NewReader("")
}

func (s execStreams) writer(name string) io.Writer {
	if stream := s[name]; stream != nil {
		return stream
	}
	return io.Discard
}

// aheadConn reads first what net/http has read too much.
type aheadConn struct {
	net.Conn
	ahead *bufio.Reader
}

func (c *aheadConn) Read(p []byte) (int, error) {
	if c.ahead.Buffered() > 0 {
		return c.ahead.Read(p)
	}
	return c.Conn.Read(p)
}
