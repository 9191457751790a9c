package albsim

func init() {
	p := derive(awsALB(), "alpn-forced-http1", "a balancer that selects http/1.1 though the client has not offered it")
	p.ALPNNoOverlap = "http/1.1"
	p.grade("ALPNNoOverlap", "O", "tls-routing.md 4.9: TP #29098; the product is not named")
	p.ServerHeader = "alpn-forced-http1"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
