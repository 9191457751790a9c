package albsim

import "time"

func init() {
	register(awsNLB("aws-nlb-tcp", "AWS Network Load Balancer before TCP listeners, as far as one can be told from its sockets: "+
		"a relay in userspace accepts before the target has, and packets are not passed on one by one"))
}

// awsNLB is a function, so that the other profile has it whatever the order of init. TCP and TLS listeners belong to one
// product: what is known of one is known of both.
func awsNLB(name, description string) Profile {
	return Profile{
		Name:        name,
		Description: description,
		Kind:        network,

		TLSKnobs: TLSKnobs{
			ALPNNoOverlap: "ignore",
			BackendSNI:    "none",
			BackendVerify: "none",
		},
		TunnelKnobs: TunnelKnobs{
			HalfClose:     "propagate",
			TLSTruncation: "fin",
		},
		LimitKnobs: LimitKnobs{MaxResponseHeaders: 32 << 10},
		ConnectionKnobs: ConnectionKnobs{
			ConnectTimeout:   10 * time.Second,
			TargetTLSTimeout: 10 * time.Second,
		},
		NetworkKnobs: NetworkKnobs{
			IdleExpiry:        "silent",
			KeepAliveCounts:   true,
			EmitKeepAlive:     20 * time.Second,
			TLSIdle:           350 * time.Second,
			TargetALPN:        "selected",
			LargeCertificates: true,
		},

		Evidence: map[string]Evidence{
			"ALPNNoOverlap":      {"D", "alb.md 11 N-TLS: the balancer then does not use ALPN; NLB-TLS-03"},
			"BackendSNI":         {"O", "alb.md 11: istio #35420"},
			"BackendVerify":      {"D", "alb.md 11 N-TG: a target's certificate is not validated"},
			"HalfClose":          {"I", "alb.md 11: a TCP listener passes packets on; not known of a TLS listener"},
			"TLSTruncation":      {"A", "nothing found for TLS listeners; a TCP listener does not see it"},
			"MaxResponseHeaders": {"A", "of an answer to a health check; as aws-alb"},
			"ConnectTimeout":     {"A", "alb.md 11: a real one passes the SYN on and has no timeout of its own"},
			"TargetTLSTimeout":   {"A", "nothing found; as aws-alb"},
			"IdleExpiry": {"D", "alb.md 11 N-LB, N-TRB; O wstunnel #6; NLB-TCP-03. In userspace the kernel acknowledges " +
				"what comes late before the RST goes out, and after two timeouts more a RST goes out unasked, to free the sockets"},
			"KeepAliveCounts": {"D", "alb.md 11 N-LB; NLB-TCP-04. Seen by TCP_INFO on Linux only, up to a twentieth of the timeout " +
				"(5 s at most) late, and answered here, not passed on"},
			"EmitKeepAlive":     {"D", "alb.md 11 N-LB; whole seconds, since the kernel sends them"},
			"TLSIdle":           {"D", "alb.md 11 N-IDLE, N-LB"},
			"TargetALPN":        {"I", "alb.md 11 N-ACC: the log has a protocol agreed on with the target"},
			"LargeCertificates": {"A", "alb.md 11 N-TLS: a text of 2023 says RSA of 2048 bits at most and no curve, likely relaxed"},
		},
	}
}
