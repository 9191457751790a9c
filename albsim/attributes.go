package albsim

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are the attributes in typed form.
type settings struct {
	idle         time.Duration
	keepAlive    time.Duration
	http2        bool
	xffMode      string
	xffPort      bool
	preserveHost bool
	dropInvalid  bool
	strictest    bool
	tlsHeaders   bool
}

// attribute is one of AWS's load balancer attributes: its default, and how a value is read.
type attribute struct {
	key   string
	value any
	set   func(*settings, any) string // the fault, or ""
}

// attributes with AWS's defaults and ranges: alb.md sections 5 and 6 (source ATTR, grade D).
var attributes = []attribute{
	{"client_keep_alive.seconds", 3600, seconds(60, 604800, func(s *settings) *time.Duration { return &s.keepAlive })},
	{"idle_timeout.timeout_seconds", 60, seconds(1, 4000, func(s *settings) *time.Duration { return &s.idle })},
	{"routing.http.desync_mitigation_mode", "defensive", func(s *settings, v any) string {
		switch v {
		case "defensive", "strictest":
			s.strictest = v == "strictest"
			return ""
		case "monitor":
			return "monitor is not simulated: this version cannot pass a malformed request on; use defensive or strictest"
		}
		return "must be defensive, strictest or monitor"
	}},
	{"routing.http.drop_invalid_header_fields.enabled", false, boolean(func(s *settings) *bool { return &s.dropInvalid })},
	{"routing.http.preserve_host_header.enabled", false, boolean(func(s *settings) *bool { return &s.preserveHost })},
	{"routing.http.x_amzn_tls_version_and_cipher_suite.enabled", false, boolean(func(s *settings) *bool { return &s.tlsHeaders })},
	{"routing.http.xff_client_port.enabled", false, boolean(func(s *settings) *bool { return &s.xffPort })},
	{"routing.http.xff_header_processing.mode", "append", func(s *settings, v any) string {
		mode, _ := v.(string)
		if !slices.Contains([]string{"append", "preserve", "remove"}, mode) {
			return "must be append, preserve or remove"
		}
		s.xffMode = mode
		return ""
	}},
	{"routing.http2.enabled", true, boolean(func(s *settings) *bool { return &s.http2 })},
}

// AWS has these too; they change nothing that a client or target of the simulator could see, or are not simulated.
var foreignAttributes = []string{
	"access_logs.s3.enabled", "access_logs.s3.bucket", "access_logs.s3.prefix", "connection_logs.s3.enabled",
	"connection_logs.s3.bucket", "connection_logs.s3.prefix", "deletion_protection.enabled", "ipv6.deny_all_igw_traffic",
	"load_balancing.cross_zone.enabled", "waf.fail_open.enabled", "zonal_shift.config.enabled",
}

// Attributes lists the keys that a document may set, with their defaults.
func Attributes() map[string]any {
	out := make(map[string]any, len(attributes))
	for _, a := range attributes {
		out[a.key] = a.value
	}
	return out
}

func readAttributes(given map[string]any, faults *Faults) settings {
	var s settings
	known := make([]string, 0, len(attributes))
	for _, a := range attributes {
		known = append(known, a.key)
		if msg := a.set(&s, a.value); msg != "" {
			panic("albsim: default of " + a.key + " " + msg)
		}
		if v, ok := given[a.key]; ok {
			if msg := a.set(&s, v); msg != "" {
				faults.add("attributes["+a.key+"]", "%v: %s", v, msg)
			}
		}
	}
	var unknown []string
	for key := range given {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for _, key := range unknown {
		if slices.Contains(foreignAttributes, key) {
			faults.add("attributes["+key+"]", "an attribute of AWS that this version does not simulate")
			continue
		}
		faults.add("attributes["+key+"]", "no such attribute%s", didYouMean(key, known))
	}
	return s
}

func seconds(low, high int64, field func(*settings) *time.Duration) func(*settings, any) string {
	return func(s *settings, v any) string {
		n, ok := integer(v)
		if !ok || n < low || n > high {
			return "must be a whole number of seconds from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10)
		}
		*field(s) = time.Duration(n) * time.Second
		return ""
	}
}

func boolean(field func(*settings) *bool) func(*settings, any) string {
	return func(s *settings, v any) string {
		switch v := v.(type) {
		case bool:
			*field(s) = v
			return ""
		case string: // AWS's interface has every value as a string
			if b := strings.ToLower(v); b == "true" || b == "false" {
				*field(s) = b == "true"
				return ""
			}
		}
		return "must be true or false"
	}
}

// integer takes what JSON, YAML and AWS's interface (strings) give for a whole number.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}
