package albsim

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"
)

// healthCheck is a group's, found good.
type healthCheck struct {
	secure             bool
	port               string // "" is the target's own
	path               string
	interval, timeout  time.Duration
	healthyThreshold   int
	unhealthyThreshold int
	codes              []codeRange
	multiplexed        bool // h2
	ask                func(ctx context.Context, h *healthCheck, conn net.Conn, host string, limit int) (code int, err error)
}

type codeRange struct{ low, high int }

// planHealthCheck reads a group's check with AWS's ranges and defaults: alb.md section 9 (HC). It is nil for a group without.
func planHealthCheck(g TargetGroup, path string, faults *Faults) *healthCheck {
	c := g.HealthCheck
	h := &healthCheck{secure: c.Protocol == "HTTPS", path: c.Path, port: c.Port, ask: askHTTP1}
	number := func(name string, given, def, low, high int) int {
		if given == 0 {
			return def
		}
		if given < low || given > high {
			faults.add(path+"."+name, "%d: must be from %d to %d", given, low, high)
		}
		return given
	}
	interval := number("interval_seconds", c.IntervalSeconds, 30, 5, 300)
	timeout := number("timeout_seconds", c.TimeoutSeconds, 5, 2, 120)
	h.healthyThreshold = number("healthy_threshold_count", c.HealthyThresholdCount, 5, 2, 10)
	h.unhealthyThreshold = number("unhealthy_threshold_count", c.UnhealthyThresholdCount, 2, 2, 10)
	h.interval, h.timeout = time.Duration(interval)*time.Second, time.Duration(timeout)*time.Second
	if timeout >= interval {
		faults.add(path+".timeout_seconds", "%d: must be less than the interval, %d", timeout, interval)
	}
	switch c.Protocol {
	case "", "HTTP", "HTTPS":
	case "TCP":
		faults.add(path+".protocol", "TCP checks belong to groups of a network load balancer; use HTTP or HTTPS")
	default:
		faults.add(path+".protocol", "%q: must be HTTP or HTTPS", c.Protocol)
	}
	if h.port == "traffic-port" {
		h.port = ""
	}
	if n, err := strconv.ParseUint(h.port, 10, 16); h.port != "" && (err != nil || n == 0) {
		faults.add(path+".port", "%q: must be traffic-port or a number from 1 to 65535", c.Port)
	}
	grpc := g.ProtocolVersion == "GRPC"
	field, text, def, low, high := ".matcher.http_code", c.Matcher.HTTPCode, "200", 200, 499
	other, unfit := ".matcher.grpc_code", c.Matcher.GRPCCode
	if grpc {
		field, text, def, low, high = ".matcher.grpc_code", c.Matcher.GRPCCode, "12", 0, 99
		other, unfit = ".matcher.http_code", c.Matcher.HTTPCode
	}
	if unfit != "" {
		faults.add(path+other, "does not go with the group's protocol version")
	}
	if text == "" {
		text = def
	}
	var msg string
	if h.codes, msg = parseCodes(text, low, high); msg != "" {
		faults.add(path+field, "%q: %s", text, msg)
	}
	switch {
	case h.path == "" && grpc:
		h.path = "/AWS.ALB/healthcheck"
	case h.path == "":
		h.path = "/"
	case h.path[0] != '/' || len(h.path) > 1024 || strings.ContainsFunc(h.path, func(r rune) bool { return r <= ' ' || r > '~' }):
		faults.add(path+".path", "%.60q: must begin with / and be of up to 1024 visible characters", h.path)
	}
	switch g.ProtocolVersion {
	case "HTTP2":
		h.ask, h.multiplexed = askHTTP2, true
	case "GRPC":
		h.ask, h.multiplexed = askGRPC, true
	}
	if !c.Enabled {
		return nil
	}
	return h
}

// parseCodes reads values and ranges, as in 200,202-299.
func parseCodes(text string, low, high int) (codes []codeRange, msg string) {
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || int(a) < low || int(b) > high || a > b {
			return nil, "must be codes or ranges of codes from " + strconv.Itoa(low) + " to " + strconv.Itoa(high) + ", as in 200,202-299"
		}
		codes = append(codes, codeRange{int(a), int(b)})
	}
	return codes, ""
}
