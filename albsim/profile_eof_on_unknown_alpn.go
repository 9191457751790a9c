package albsim

func init() {
	p := derive(awsALB(), "eof-on-unknown-alpn", "a middlebox that ends the connection of an unknown ALPN without an alert")
	p.ALPNNoOverlap = "eof"
	p.grade("ALPNNoOverlap", "O", "tls-routing.md 4.10: TP #66657; the product is not named")
	p.ServerHeader = "eof-on-unknown-alpn"
	p.grade("ServerHeader", "A", "a class, not a product: a name of its own")
	register(p)
}
