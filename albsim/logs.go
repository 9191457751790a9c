package albsim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func httpDate() string { return time.Now().UTC().Format(http.TimeFormat) }

// logFile is an access or a connection log: whole lines, appended. The zero value writes nowhere.
type logFile struct {
	mu   sync.Mutex // guards file: one line at a time
	file *os.File
}

func (l *logFile) open(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	l.file = f
	return err
}

func (l *logFile) line(fields ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	_, err := l.file.WriteString(strings.Join(fields, " ") + "\n")
	return err
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

const (
	logTime  = "2006-01-02T15:04:05.000000Z"
	elbName  = "app/albsim/0000000000000000"
	groupARN = "arn:aws:elasticloadbalancing:albsim:000000000000:targetgroup/%s/0000000000000000"
	certARN  = "arn:aws:acm:albsim:000000000000:certificate/default"
)

// record is what the access log says of one request: alb.md section 10.
type record struct {
	s     *Server
	l     *listener
	state *connState
	req   *request

	status, targetStatus int
	target, group        string
	trace                string
	targetTime           time.Duration
	received             int64
	priority             int
	actions, redirect    string
	tunnel               bool
}

func newRecord(s *Server, l *listener, state *connState, req *request) *record {
	return &record{s: s, l: l, state: state, req: req, received: req.headSize}
}

// done writes the line. For a tunnel that is when it has closed, and the bytes are those of the whole of it.
func (r *record) done(sent int64) {
	if r.s.plan.logs.Access == "" {
		return
	}
	q := r.req
	total := time.Since(q.received)
	targetTime, rest := "-1", "-1"
	if r.targetStatus != 0 {
		targetTime, rest = secs(r.targetTime), "0.000"
		if !r.tunnel {
			rest = secs(max(0, total-r.targetTime))
		}
	}
	cipher, protocol, domain, arn := "-", "-", "-", "-"
	if q.tls != nil {
		cipher, protocol, arn = suiteName(q.tls.CipherSuite), versionName(q.tls.Version), certARN
		if q.tls.ServerName != "" && named(r.l.plan.certs, q.tls.ServerName) {
			domain = q.tls.ServerName
		}
	}
	group := "-"
	if r.group != "" {
		group = fmt.Sprintf(groupARN, r.group)
	}
	agent, _ := q.get("User-Agent")
	err := r.s.access.line(
		r.kind(), time.Now().UTC().Format(logTime), elbName, q.client.String(), dash(r.target),
		"0.000", targetTime, rest, status(r.status), status(r.targetStatus),
		strconv.FormatInt(r.received, 10), strconv.FormatInt(sent, 10),
		quote(r.line()), quote(agent), cipher, protocol, group,
		quote(r.trace), quote(domain), quote(arn), strconv.Itoa(r.priority), q.received.UTC().Format(logTime),
		quote(r.actions), quote(r.redirect), quote(""), quote(r.target), quote(status(r.targetStatus)),
		quote(q.class.tier.String()), quote(q.class.reason), r.state.traceID, quote(""), quote(""), quote(""),
	)
	if err != nil {
		r.s.log.Error("access log not written", "err", err)
	}
}

// kind is the first field: what the client spoke.
func (r *record) kind() string {
	if r.tunnel && (hasToken(r.req.upgrade, "websocket") || r.s.plan.profile.TunnelLogType == "ws") {
		if r.req.secure {
			return "wss"
		}
		return "ws"
	}
	switch {
	case r.req.proto == "HTTP/2.0":
		return "h2"
	case r.req.secure:
		return "https"
	}
	return "http"
}

// line is the request as METHOD URL VERSION, the URL made whole.
func (r *record) line() string {
	q := r.req
	if q.method == "" {
		return "- " + "http://" + net.JoinHostPort(strings.Trim(hostOnly(q.host), "[]"), strconv.Itoa(q.port)) + "- -"
	}
	scheme := "http"
	if q.secure {
		scheme = "https"
	}
	return q.method + " " + scheme + "://" + hostOnly(q.host) + ":" + strconv.Itoa(q.port) + q.target + " " + q.proto
}

func secs(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func status(code int) string {
	if code == 0 {
		return "-"
	}
	return strconv.Itoa(code)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// quote keeps one record on one line whatever the client sent.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			fmt.Fprintf(&b, "\\x%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if s == "" {
		b.WriteByte('-')
	}
	b.WriteByte('"')
	return b.String()
}

func newConnTrace() string {
	var b [16]byte
	rand.Read(b[:])
	return "TID_" + hex.EncodeToString(b[:])
}
