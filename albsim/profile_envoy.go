package albsim

import "time"

func init() {
	p := product("envoy", "Envoy, and what is built on it: the upgrades that its configuration has, 403 for any other")
	p.ALPNNoOverlap = "ignore"
	p.grade("ALPNNoOverlap", "S", "alb.md 13: server_context_impl.cc (NOACK); O gateway #6826")
	p.ConnectionRequired = true
	p.grade("ConnectionRequired", "S", "Http::Utility::isUpgrade asks for both fields")
	p.UpgradeTokens = []string{"websocket"}
	p.grade("UpgradeTokens", "S", "alb.md 13: those in upgrade_configs; websocket is what configurations have")
	p.RefusedUpgrade = 403
	p.grade("RefusedUpgrade", "O", "alb.md 13: headscale #851, envoy #7161; istio #51307, #53239")
	p.TunnelIdle = 5 * time.Minute
	p.grade("TunnelIdle", "A", "alb.md 13: stream_idle_timeout 5 min")
	p.IdleTimeout = time.Hour
	p.grade("IdleTimeout", "D", "alb.md 13: FAQ on timeouts: idle 1 h")
	p.ClientKeepAlive = 0
	p.grade("ClientKeepAlive", "A", "max_connection_duration is configuration")
	p.FieldNames = "lower"
	p.grade("FieldNames", "A", "not in our facts; another spelling is configuration")
	p.BackendSNI = "none"
	p.grade("BackendSNI", "S", "alb.md 13: sni of UpstreamTlsContext, which is configuration")
	p.BackendVerify = "none"
	p.grade("BackendVerify", "S", "alb.md 13: verified only if configured")
	p.AddedFields = []string{"Host", "X-Forwarded-Proto"}
	p.grade("AddedFields", "A", "x-forwarded-for is configuration (use_remote_address)")
	p.ServerHeader = "envoy"
	p.grade("ServerHeader", "A", "not in our facts")
	register(p)
}
