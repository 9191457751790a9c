package main

// groups of the catalogue in its order, each with its name and what it is about.
var groups = []struct{ id, name, intro string }{
	{"DET", "detection", `How a router finds out what a connection is. The first bytes come in any number of pieces and in more than one protocol; a router
that reads them wrongly sends a connection to the wrong place, or leaves it hanging.`},
	{"UPG", "HTTP/1.1 upgrade", `How a tunnel is opened through what speaks only HTTP: the request, the 101, the fields that hops take away, and what must never
become a tunnel.`},
	{"WSF", "WebSocket framing", `The frames that carry a tunnel once a WebSocket is open. A tunnel sees bytes where a WebSocket sees messages, and each of the two
can break the other.`},
	{"TLS", "inner TLS", `Which route a server name and a protocol lead to, what is answered when they lead to none, and what a router must leave as it is in the
handshake that it passes on.`},
	{"MTL", "mutual TLS", `Client certificates: who is asked for one, which are refused, and that they reach the end of the tunnel that asked.`},
	{"TUN", "splice transparency", `What becomes of the bytes behind the handshake, and of the two ends of a tunnel: nothing is lost, nothing is added, and no end is
reported that was none.`},
	{"KAL", "keep-alive and timeouts", `How a tunnel lives under an idle timeout of something in between, and how its end is noticed.`},
	{"SRC", "source address", `Whose address a backend is told: PROXY protocol and X-Forwarded-For, read only from whom they may be believed.`},
	{"STT", "STARTTLS and databases", `Protocols that say something in plaintext before TLS begins: PostgreSQL, MySQL, SMTP. What is sent behind the request for TLS and
before its handshake was never protected by it.`},
	{"SEC", "security", `What an attacker sends: two readings of one request, slow and endless beginnings, and names that are not in the table.`},
	{"OPS", "operations", `What happens to tunnels while the router is reloaded, drained, watched and measured.`},
	{"ALB", "load balancers", `What an Application Load Balancer is documented or observed to do, as a suite for whatever stands in its place: a simulator, a
proxy, the real one. The ids are those of [docs/alb-rows.md](alb-rows.md), which has the grade of each row. A level says how well the behaviour is known, not
that anybody has to behave so: MUST is documented by AWS, SHOULD observed by a third party or read in source code, INFO inferred or assumed.`},
}
