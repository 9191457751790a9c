package albsim

func init() {
	register(awsNLB("aws-nlb-tls", "AWS Network Load Balancer before TLS listeners: ends TLS without client certificates, speaks no HTTP"))
}
