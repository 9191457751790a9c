package albsim

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const networkName = "net/albsim/0000000000000000"

// maxPreferences bounds the client's ALPN list in the log: alb.md section 11 (N-ACC).
const maxPreferences = 256

// log counts the flow's bytes and writes its line, which connections of TLS listeners have and no others.
func (f *flow) log() {
	in, out := f.client.in.Load(), f.client.out.Load()
	f.s.log.Debug("flow ended", "client", f.peer, "in", in, "out", out, "dur", time.Since(f.c.established))
	if f.tls == nil {
		f.s.count.flows.bytesTCP.Add(in + out)
		return
	}
	f.s.count.flows.bytesTLS.Add(in + out)
	if f.s.plan.logs.Access == "" {
		return
	}
	shaken, alert, cipher, version, arn, domain := "-", "-", "-", "-", "-", "-"
	if f.alert >= 0 {
		alert = strconv.Itoa(f.alert)
	}
	if f.hello {
		arn = certARN
	}
	if f.shaken > 0 {
		shaken, cipher = millis(f.shaken), suiteName(f.tls.CipherSuite)
		version = strings.ToLower(strings.ReplaceAll(versionName(f.tls.Version), ".", ""))
		if f.tls.Version == tls.VersionTLS10 {
			version = "tlsv10"
		}
	}
	if f.tls.ServerName != "" {
		domain = url.QueryEscape(f.tls.ServerName)
	}
	offered := "-"
	if f.c.l.plan.network.alpn != nil { // a policy is configured
		offered = preferences(f.offered)
	}
	err := f.s.access.line(
		"tls", "2.0", time.Now().UTC().Format("2006-01-02T15:04:05"), networkName, "0000000000000000",
		f.peer.String(), f.local.String(), millis(time.Since(f.c.established)), shaken,
		strconv.FormatInt(in, 10), strconv.FormatInt(out, 10), alert, arn, "-", cipher, version, "-", domain,
		dash(f.tls.NegotiatedProtocol), dash(f.backALPN), offered,
	)
	if err != nil {
		f.s.log.Error("access log not written", "err", err)
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// preferences is the client's ALPN list, each name quoted and escaped but for the slash, as AWS's example has it.
func preferences(offered []string) string {
	var b strings.Builder
	for _, name := range offered {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strings.ReplaceAll(url.QueryEscape(name), "%2F", "/") + `"`)
	}
	return dash(b.String()[:min(b.Len(), maxPreferences)])
}

// alertOf is the alert that a handshake failed by, or -1. crypto/tls has no exported type for a peer's.
func alertOf(err error) int {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return int(v.Uint())
		}
	}
	return -1
}
