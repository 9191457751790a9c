package albsim

import (
	"maps"
	"slices"
	"strings"
)

// listenerSettings are a listener's attributes in typed form.
type listenerSettings struct {
	names    map[string]string // of fields that the balancer adds to requests: its own name, and the listener's
	inserted []field           // into responses
	server   bool              // on the balancer's own
}

// renamed tells whether the balancer writes a field of that name because the listener says so.
func (s *listenerSettings) renamed(name string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(s.names)), field{name: name}.is)
}

// listenerAttributes are of alb.md section 6, last point (LST), and section 3 (MTLS). Their names are those of AWS's API reference
// for ListenerAttribute, as of 2026-11. An empty value is none.
var listenerAttributes = attributeSet[listenerSettings]{
	every: listenerKeys,
	simulated: []attribute[listenerSettings]{
		headerName("routing.http.request.x_amzn_mtls_clientcert.header_name", "X-Amzn-Mtls-Clientcert"),
		headerName("routing.http.request.x_amzn_mtls_clientcert_issuer.header_name", "X-Amzn-Mtls-Clientcert-Issuer"),
		headerName("routing.http.request.x_amzn_mtls_clientcert_leaf.header_name", "X-Amzn-Mtls-Clientcert-Leaf"),
		headerName("routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name", "X-Amzn-Mtls-Clientcert-Serial-Number"),
		headerName("routing.http.request.x_amzn_mtls_clientcert_subject.header_name", "X-Amzn-Mtls-Clientcert-Subject"),
		headerName("routing.http.request.x_amzn_mtls_clientcert_validity.header_name", "X-Amzn-Mtls-Clientcert-Validity"),
		headerName("routing.http.request.x_amzn_tls_cipher_suite.header_name", "x-amzn-tls-cipher-suite"),
		headerName("routing.http.request.x_amzn_tls_version.header_name", "x-amzn-tls-version"),
		headerValue("routing.http.response.access_control_allow_credentials.header_value", "Access-Control-Allow-Credentials", "true"),
		headerValue("routing.http.response.access_control_allow_headers.header_value", "Access-Control-Allow-Headers"),
		headerValue("routing.http.response.access_control_allow_methods.header_value", "Access-Control-Allow-Methods"),
		headerValue("routing.http.response.access_control_allow_origin.header_value", "Access-Control-Allow-Origin"),
		headerValue("routing.http.response.access_control_expose_headers.header_value", "Access-Control-Expose-Headers"),
		headerValue("routing.http.response.access_control_max_age.header_value", "Access-Control-Max-Age"),
		headerValue("routing.http.response.content_security_policy.header_value", "Content-Security-Policy"),
		headerValue("routing.http.response.strict_transport_security.header_value", "Strict-Transport-Security"),
		headerValue("routing.http.response.x_content_type_options.header_value", "X-Content-Type-Options", "nosniff"),
		headerValue("routing.http.response.x_frame_options.header_value", "X-Frame-Options"),
		{"routing.http.response.server.enabled", true, boolean(func(s *listenerSettings) *bool { return &s.server })},
	},
}

// headerName is an attribute that renames a field of requests.
func headerName(key, name string) attribute[listenerSettings] {
	return attribute[listenerSettings]{key, "", func(s *listenerSettings, v any) string {
		to, ok := v.(string)
		switch {
		case !ok || to != "" && !awsName(strings.ReplaceAll(to, "_", "-")):
			return "must be a name of letters, digits, - and _"
		case to == "":
			return ""
		}
		if s.names == nil {
			s.names = map[string]string{}
		}
		s.names[name] = to
		return ""
	}}
}

// headerValue is an attribute that puts a field into responses, with one of the values if there are any.
func headerValue(key, name string, values ...string) attribute[listenerSettings] {
	return attribute[listenerSettings]{key, "", func(s *listenerSettings, v any) string {
		value, ok := v.(string)
		switch {
		case !ok || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c >= 0x7f }):
			return "must be text without control characters"
		case value == "":
			return ""
		case values != nil && !slices.Contains(values, value):
			return "must be " + strings.Join(values, " or ")
		}
		s.inserted = append(s.inserted, field{name: name, value: value})
		return ""
	}}
}

// respond makes a final response the listener's: a field that it puts in replaces the target's of that name (assumed).
func (s *listenerSettings) respond(r *response) {
	if r.status < 200 || s.server && s.inserted == nil {
		return
	}
	r.fields = slices.DeleteFunc(slices.Clone(r.fields), func(f field) bool {
		return !s.server && r.own && f.is("Server") || slices.ContainsFunc(s.inserted, func(in field) bool { return f.is(in.name) })
	})
	r.fields = append(r.fields, s.inserted...)
}
