// Package albsim simulates load balancers as the real ones are documented and observed to behave. An application load
// balancer ends TLS, speaks HTTP/1.1 and h2 in front and HTTP/1.1, h2 or gRPC to its targets, and turns a 101 into an opaque
// tunnel; a network load balancer passes bytes on, or ends TLS and knows no HTTP.
//
// A [Config] is the simulator's document of DESIGN.md section 5, in AWS's vocabulary. A [Profile] is what a product does
// where the document has no word: data, one file each, every knob with the grade and source of its value. The facts are
// those of shared/facts/alb.md; row ids such as ALB-UPG-02 refer to the table in its section 15, which docs/alb-rows.md
// has with the tests that are named by them.
//
//	cfg := albsim.Config{
//		Listeners:    []albsim.Listener{{Listen: "127.0.0.1:0", Protocol: "HTTP", Default: albsim.Default{Forward: "web"}}},
//		TargetGroups: []albsim.TargetGroup{{Name: "web", Protocol: "HTTP", Targets: []string{"127.0.0.1:8080"}}},
//	}
//	srv, err := albsim.New(cfg, albsim.Options{})   // every fault of the document at once, as Faults
//	err = srv.Listen(ctx)                           // binds; Addrs() is known from here on
//	err = srv.Serve(ctx)                            // until ctx ends or Shutdown
//
// # What a target sees
//
// The request is written as bytes, not through net/http, in the order observed behind an ALB: X-Forwarded-For, -Proto,
// -Port, Host, X-Amzn-Trace-Id, what mutual TLS adds, Upgrade, Connection if it survives, then the rest as it came. For
// a custom upgrade token Connection does not survive and Upgrade does; what Connection nominated stays. An HTTPS target
// gets a ClientHello without SNI, ALPN and client certificate, and its certificate is not looked at.
//
// # Time
//
// The idle timeout counts plaintext bytes of either direction on either leg. TCP keep-alive, TLS records without content
// and h2 PING do not count. [Options.TimeScale] multiplies every timer, since the document has whole seconds only.
//
// # Targets
//
// A target group chooses by the client's stickiness cookie, else by its algorithm, among its healthy targets, and among all of
// them when too few are healthy. [Server.Register] and [Server.Deregister] change a group while it runs, [Server.Targets] tells
// AWS's state and reason of each. Health checks are off where a document does not ask for them. Anomaly mitigation's shape is not
// documented; [GroupAttributes] has the keys and what is known of them.
//
// # Network load balancers
//
// A document whose profile is aws-nlb-tcp or aws-nlb-tls has listeners and target groups of protocol TCP and TLS, and no others.
// A TCP listener passes bytes on as they are, to one target for a connection's life; a TLS listener ends TLS, by the policies of
// alpn_policy, without ever asking for a certificate. An idle connection is forgotten in silence, and the next byte of either
// end gets a RST. Several target groups get flows by their weights, and stickiness source_ip keeps an address with its target as long
// as the targets stay what they are. The flows of a target that turns unhealthy are reset, unless the group has opened to all;
// where they are not to be, they go on, for the draining interval if there is one. This is done with sockets, and packets cannot be seen, so that these differ from a real one:
//
//   - A client is accepted before the target has. Where a real one would hold back the SYN's answer, or pass the target's RST
//     on, the connection is reset behind its establishment.
//   - What comes to a forgotten connection is acknowledged by the kernel before its RST goes out. After two idle timeouts more the
//     RST goes out unasked, and at once for more than a quarter of all connections: the sockets are needed.
//   - A TCP keep-alive is answered here and not passed on. It is found by counting segments, on Linux alone, a twentieth of the
//     timeout late, at most 5 seconds. The interval of those that a TLS listener sends is in whole seconds.
//   - The client's address is the source towards a target only if it is one of this machine's, such as 127.0.0.2, and never
//     together with its port. Any other is refused, logged and counted as PortAllocationErrorCount, unless
//     preserve_client_ip.enabled is false. A target may be its own client, which AWS's cannot. [Options.DialTarget] takes no source.
//   - The flow hash takes [Options.Seed] where AWS takes the TCP sequence number.
//   - What is behind a RST that a target sends with data before it may be lost on the way, as in any relay.
//
// UDP and QUIC listeners are refused. Metrics that count packets or capacity units are not there.
//
// # Nodes
//
// A listener may have several addresses, one for each node, of which [Server.Nodes] tells those that the balancer's name has now;
// [Server.Rotate] replaces the oldest. Who answers for the name is not part of this package.
//
// # Faults
//
// An [Injection] disturbs the bytes of either hop, below TLS or what TLS carries: from a connection's beginning when it stands in the document or
// the profile, from the moment of [Server.Inject] on those that stand. The same seed cuts the same connection at the same
// offsets. [Options.Observe] is told of every connection, its bytes, timers, alerts and faults, for a timeline. Without a
// fault and an observer a read or write pays for one look at a flag.
//
// # Policies
//
// A security policy is kept or refused by what defines it. One whose versions and key exchange crypto/tls has starts, though
// crypto/tls lacks some of its suites (ECDHE-*-AES256-SHA384, AES256-SHA256): AWS's default is one of them. [Server.Notes] says
// which, and the log warns at New. One that is defined by what crypto/tls lacks is refused: the FIPS family, and of the PQ family
// all but ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09. No policy is replaced by another.
//
// # Status codes
//
// The balancer answers of itself with AWS's codes only (alb.md section 7; a test reads the sources for others). 000 is a field of h2
// over 8 K compressed; 460 closes the connection (alb.md 16.9, unknown). What asks for the rest stands in the document:
//
//	401  authentication: denied, a log-in that went wrong or took over 15 minutes, a cookie that is none of ours; a JWT that is not valid
//	403  the web ACL blocks
//	500  a web ACL that cannot be asked; a provider's endpoint that is not reached in 5 s, or claims over 11K; no keys for a JWT; a
//	     transform that matched and came to nothing
//	507  a redirect to a URL over 8K
//	561  an identity provider that answers with an error
//
// AWS's pages disagree about claims that are too large (401 or 500) and a request of HTTP/1.0 without Host (the same); the value
// taken is the one with the number beside it, and the later one.
//
// # Authentication
//
// authenticate-oidc and authenticate-cognito send a user to the identity provider and take the code that comes back to
// /oauth2/idpresponse; the session is in the cookies, sealed with a key that lives as long as the [Server]. x-amzn-oidc-data is
// verified by [Server.PublicKey]. jwt-validation takes a bearer token by RS256. Their endpoints are https and are asked over
// connections of their own, with [Options.IdentityRoots]: no proxy, no redirect.
//
// Mode monitor of the desync mitigation routes even a severe request, as far as method, target and version can be told apart, and
// keeps the connections behind an ambiguous one; behind a severe one both end (assumed: nobody knows where it does). A certificate of
// a client is not measured by its size nor its chain by a count: AWS has limits, and their values are not known.
//
// # What it does not do, and says so
//
// New refuses with a sentence: TLS policies that crypto/tls cannot keep. The web ACL is a few block rules in the place of AWS WAF: it
// counts nothing, and reads no body. An ID token's signature is not verified, for AWS's configuration names no keys. AWS's words for
// what is wrong with a set of keys are not known, and are missing in the access log. A listener without an authenticate action
// passes x-amzn-oidc-* of a client on. A transform of a rule that does not forward does nothing. Trailers pass
// between h2 and h2 only, those of a request if they were announced. An h2 target gets the fields in no order, because net/http
// takes them as a map. A request of h2 with Connection, Upgrade or another field that HTTP/2 forbids gets 400 and a line in the
// log, or what the knob H2ForbiddenFields says; what AWS does with it is unknown (alb.md 16.8).
//
// A request goes to a second connection only if it may be repeated and the first, from the pool, gave no byte; anything else
// that a target breaks off is 502. A client of HTTP/1.1 that leaves in the middle of a response is noticed by the next write
// to it, or by the idle timeout.
//
// The package shares no parsing with refimpl, so that a bug of one does not hide itself in the other.
package albsim
