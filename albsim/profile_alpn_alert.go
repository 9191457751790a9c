package albsim

func init() {
	p := derive(awsALB(), "alpn-alert",
		"a balancer that ends the handshake of an unknown ALPN with alert 120: the class of nginx, Traefik and Caddy")
	p.ALPNNoOverlap = "alert120"
	p.grade("ALPNNoOverlap", "S", "alb.md 13: nginx since 1.21.4 (ngx_http_ssl_alpn_select), Go crypto/tls in Traefik and Caddy")
	p.StripConnectionForCustom = false
	p.grade("StripConnectionForCustom", "S", "alb.md 13: nginx with proxy_set_header and Go's ReverseProxy send both headers on")
	p.ServerHeader = "alpn-alert"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
