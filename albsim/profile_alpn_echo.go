package albsim

func init() {
	p := derive(awsALB(), "alpn-echo", "a middlebox that ends TLS and agrees to whatever ALPN the client puts first")
	p.ALPNOffer, p.ALPNNoOverlap = nil, "echo"
	p.grade("ALPNOffer", "A", "a fixture: nothing is of its own")
	p.grade("ALPNNoOverlap", "A", "a fixture: the false negative of tls-routing.md 1.5 and 6.4")
	p.ServerHeader = "alpn-echo"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
