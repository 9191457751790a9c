package albsim

// groupSettings are a target group's attributes in typed form: none so far.
type groupSettings struct{}

// groupAttributes are of alb.md sections 5, 9 and 11 (TG, STK, N-TG).
var groupAttributes = attributeSet[groupSettings]{
	foreign: []string{
		"deregistration_delay.connection_termination.enabled",
		"deregistration_delay.timeout_seconds",
		"lambda.multi_value_headers.enabled",
		"load_balancing.algorithm.anomaly_mitigation",
		"load_balancing.algorithm.type",
		"load_balancing.cross_zone.enabled",
		"preserve_client_ip.enabled",
		"proxy_protocol_v2.enabled",
		"slow_start.duration_seconds",
		"stickiness.app_cookie.cookie_name",
		"stickiness.app_cookie.duration_seconds",
		"stickiness.enabled",
		"stickiness.lb_cookie.duration_seconds",
		"stickiness.type",
		"target_group_health.dns_failover.minimum_healthy_targets.count",
		"target_group_health.dns_failover.minimum_healthy_targets.percentage",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
		"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
		"target_health_state.unhealthy.connection_termination.enabled",
	},
}
