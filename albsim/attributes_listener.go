package albsim

// listenerSettings are a listener's attributes in typed form: none so far.
type listenerSettings struct{}

// listenerAttributes are of alb.md section 6, last point (LST), and section 3 (MTLS).
var listenerAttributes = attributeSet[listenerSettings]{
	foreign: []string{
		"routing.http.request.x_amzn_mtls_clientcert.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_leaf.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
		"routing.http.request.x_amzn_tls_cipher_suite.header_name",
		"routing.http.request.x_amzn_tls_version.header_name",
		"routing.http.response.access_control_allow_credentials.header_value",
		"routing.http.response.access_control_allow_headers.header_value",
		"routing.http.response.access_control_allow_methods.header_value",
		"routing.http.response.access_control_allow_origin.header_value",
		"routing.http.response.access_control_expose_headers.header_value",
		"routing.http.response.access_control_max_age.header_value",
		"routing.http.response.content_security_policy.header_value",
		"routing.http.response.server.enabled",
		"routing.http.response.strict_transport_security.header_value",
		"routing.http.response.x_content_type_options.header_value",
		"routing.http.response.x_frame_options.header_value",
		"tcp.idle_timeout.seconds",
	},
}
