package albsim

// All keys that AWS has for a resource, whatever the kind of balancer or group: LoadBalancerAttribute, ListenerAttribute and
// TargetGroupAttribute of its API reference, as of 2026-11 (health_check_logs from ModifyLoadBalancerAttributes,
// waf.http2.traffic_inspection_behavior from what its interface lists). One that belongs to another kind is refused, at its
// default too, since AWS does: "The provided target group attribute is not supported", 400, for stickiness.enabled=false on a
// group of type lambda (aws-cdk PR#17271) and for a cookie on a network load balancer's (terraform-provider-aws #12726).
var (
	balancerKeys = []string{
		"access_logs.s3.bucket", "access_logs.s3.enabled", "access_logs.s3.prefix", "client_keep_alive.seconds",
		"connection_logs.s3.bucket", "connection_logs.s3.enabled", "connection_logs.s3.prefix", "deletion_protection.enabled",
		"dns_record.client_routing_policy", "health_check_logs.s3.bucket", "health_check_logs.s3.enabled", "health_check_logs.s3.prefix",
		"idle_timeout.timeout_seconds", "ipv6.deny_all_igw_traffic", "load_balancing.cross_zone.enabled",
		"routing.http.desync_mitigation_mode", "routing.http.drop_invalid_header_fields.enabled",
		"routing.http.preserve_host_header.enabled", "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
		"routing.http.xff_client_port.enabled", "routing.http.xff_header_processing.mode", "routing.http2.enabled",
		"secondary_ips.auto_assigned.per_subnet", "waf.fail_open.enabled", "zonal_shift.config.enabled",
	}
	listenerKeys = []string{
		"routing.http.request.x_amzn_mtls_clientcert.header_name", "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_leaf.header_name", "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
		"routing.http.request.x_amzn_mtls_clientcert_subject.header_name", "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
		"routing.http.request.x_amzn_tls_cipher_suite.header_name", "routing.http.request.x_amzn_tls_version.header_name",
		"routing.http.response.access_control_allow_credentials.header_value", "routing.http.response.access_control_allow_headers.header_value",
		"routing.http.response.access_control_allow_methods.header_value", "routing.http.response.access_control_allow_origin.header_value",
		"routing.http.response.access_control_expose_headers.header_value", "routing.http.response.access_control_max_age.header_value",
		"routing.http.response.content_security_policy.header_value", "routing.http.response.server.enabled",
		"routing.http.response.strict_transport_security.header_value", "routing.http.response.x_content_type_options.header_value",
		"routing.http.response.x_frame_options.header_value", "tcp.idle_timeout.seconds",
	}
	groupKeys = []string{
		"deregistration_delay.connection_termination.enabled", "deregistration_delay.timeout_seconds", "lambda.multi_value_headers.enabled",
		"load_balancing.algorithm.anomaly_mitigation", "load_balancing.algorithm.type", "load_balancing.cross_zone.enabled",
		"preserve_client_ip.enabled", "proxy_protocol_v2.enabled", "slow_start.duration_seconds", "stickiness.app_cookie.cookie_name",
		"stickiness.app_cookie.duration_seconds", "stickiness.enabled", "stickiness.lb_cookie.duration_seconds", "stickiness.type",
		"target_failover.on_deregistration", "target_failover.on_unhealthy",
		"target_group_health.dns_failover.minimum_healthy_targets.count", "target_group_health.dns_failover.minimum_healthy_targets.percentage",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
		"target_health_state.unhealthy.connection_termination.enabled", "target_health_state.unhealthy.draining_interval_seconds",
		"waf.http2.traffic_inspection_behavior",
	}
)
