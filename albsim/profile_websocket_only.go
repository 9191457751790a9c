package albsim

func init() {
	p := derive(awsALB(), "websocket-only",
		"a balancer that lets WebSocket upgrades through and no other token: the class of GCP and CloudFront")
	p.UpgradeTokens = []string{"websocket"}
	p.RefusedUpgrade = 0
	p.grade("UpgradeTokens", "O", "alb.md 13, GCP external ALB: TP #31202, PR#38167; CloudFront guide (D)")
	p.grade("RefusedUpgrade", "O", "alb.md 13: other Upgrade dropped as hop-by-hop (GCP), removed (CloudFront)")
	p.ServerHeader = "websocket-only"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
