package albsim

import (
	"slices"
	"time"
)

// settings are the load balancer's attributes in typed form.
type settings struct {
	idle         time.Duration
	keepAlive    time.Duration
	http2        bool
	xffMode      string
	xffPort      bool
	preserveHost bool
	dropInvalid  bool
	desync       string // monitor, defensive or strictest
	tlsHeaders   bool
	wafFailOpen  bool
}

// balancerAttributes with AWS's defaults and ranges: alb.md sections 5 and 6 (source ATTR, grade D).
var balancerAttributes = attributeSet[settings]{
	every: balancerKeys,
	simulated: []attribute[settings]{
		{"client_keep_alive.seconds", 3600, seconds(60, 604800, func(s *settings) *time.Duration { return &s.keepAlive })},
		{"idle_timeout.timeout_seconds", 60, seconds(1, 4000, func(s *settings) *time.Duration { return &s.idle })},
		{"routing.http.desync_mitigation_mode", "defensive", func(s *settings, v any) string {
			mode, _ := v.(string)
			if !slices.Contains([]string{"monitor", "defensive", "strictest"}, mode) {
				return "must be monitor, defensive or strictest"
			}
			s.desync = mode
			return ""
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
		{"waf.fail_open.enabled", false, boolean(func(s *settings) *bool { return &s.wafFailOpen })},
	},
	foreign: []string{
		"access_logs.s3.enabled", "access_logs.s3.bucket", "access_logs.s3.prefix", "connection_logs.s3.enabled",
		"connection_logs.s3.bucket", "connection_logs.s3.prefix", "deletion_protection.enabled", "health_check_logs.s3.bucket",
		"health_check_logs.s3.enabled", "health_check_logs.s3.prefix", "ipv6.deny_all_igw_traffic",
		"load_balancing.cross_zone.enabled", "zonal_shift.config.enabled",
	},
}

// forever is longer than any simulator stands, and can be scaled.
const forever = 365 * 24 * time.Hour

// from takes the profile's value for what the document does not set, where a product's differs from AWS's. An idle timeout of
// the document is one for everything, as AWS's is, and takes the place of the profile's others.
func (s *settings) from(p *Profile, set map[string]any) {
	if _, ok := set["idle_timeout.timeout_seconds"]; ok {
		p.TunnelIdle, p.ResponseTimeout = 0, 0
	} else {
		s.idle = p.IdleTimeout
	}
	if _, ok := set["client_keep_alive.seconds"]; !ok {
		if s.keepAlive = p.ClientKeepAlive; s.keepAlive == 0 {
			s.keepAlive = forever
		}
	}
}

// Attributes lists the load balancer's keys that a document may set, with their defaults.
func Attributes() map[string]any { return balancerAttributes.defaults() }
