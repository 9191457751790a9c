package albsim

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	elbName  = "app/albsim/0000000000000000"
	groupARN = "arn:aws:elasticloadbalancing:albsim:000000000000:targetgroup/%s/0000000000000000"
	certARN  = "arn:aws:acm:albsim:000000000000:certificate/%x" // the beginning of its SHA-256
)

// line writes the line of the access log.
func (r *record) line(sent int64) {
	if r.s.plan.logs.Access == "" {
		return
	}
	q := r.req
	total := time.Since(q.received)
	requestTime, targetTime, rest := "-1", "-1", "-1"
	if r.targetStatus != 0 {
		requestTime, targetTime, rest = secs(r.requestTime), secs(r.targetTime), "0.000"
		if !r.tunnel {
			rest = secs(max(0, total-r.requestTime-r.targetTime))
		}
	}
	cipher, protocol, domain, arn := "-", "-", "-", "-"
	if q.tls != nil {
		cipher, protocol, arn = suiteName(q.tls.CipherSuite), versionName(q.tls.Version), r.state.cert
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
		requestTime, targetTime, rest, status(r.status), status(r.targetStatus),
		strconv.FormatInt(r.received, 10), strconv.FormatInt(sent, 10),
		quote(cmp.Or(r.rewritten.asked, r.requestLine())), quote(agent), cipher, protocol, group,
		quote(r.trace), quote(domain), quote(arn), strconv.Itoa(r.priority), q.received.UTC().Format(logTime),
		quote(r.actions), quote(r.redirect), quote(r.errorReason), quote(r.target), quote(status(r.targetStatus)),
		quote(q.class.tier.String()), quote(q.class.reason), r.state.traceID,
		quote(r.rewritten.host), quote(r.rewritten.uri), quote(r.rewritten.status),
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
	case r.req.grpc():
		return "grpcs"
	case r.req.proto == "HTTP/2.0":
		return "h2"
	case r.req.secure:
		return "https"
	}
	return "http"
}

// requestLine is the request as METHOD URL VERSION, the URL made whole.
func (r *record) requestLine() string {
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
