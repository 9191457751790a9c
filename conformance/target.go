package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Target describes an implementation under test and what stands around it. It is data: an implementation is described,
// never built in.
type Target struct {
	// Name and Version are what the implementation calls itself.
	Name, Version string
	Role          Role
	// Features it claims, such as "terminate", "passthrough", "upgrade", "mtls", "websocket", "alpn", "alpn-ping".
	// Less plain ones are acme-tls-1 (a passed-through route by ALPN alone), backend-tls (TLS to backends, whose certificates are
	// verified), early-data (0-RTT is taken, or at least passed over), ech-split (a client-facing server of RFC 9849 in split mode) and
	// http-routes (requests on a terminated connection are led to the route of the name in Host, whatever its ALPN).
	Features []string
	// Paths are the ways to it; checks for the direct transport use those with Upgrade == nil.
	Paths []Path
	// Fixture names the routes the target was configured with; see [Fixture].
	Fixture Fixture
	// HelloTimeout is after how long a silent client is closed, as declared; zero when unknown.
	HelloTimeout time.Duration
	// PID is the router's process, for checks that look at its memory; 0 when unknown, or when it is that of the harness.
	PID int
	// InnerRoots verify the router's (and a passthrough witness's) certificates.
	InnerRoots *x509.CertPool
	// Witnesses by name; they are asked for their records.
	Witnesses map[string]Witness
	// Launcher starts instances of a router under test with other configurations than the fixture's; nil when it cannot be started.
	Launcher Launcher
	// Balancers does so for a load balancer under test.
	Balancers BalancerLauncher
	// Stub is where a load balancer under test (role lb) was told its target is: the checks accept on it and play the target,
	// over TLS with StubCertificate.
	Stub            net.Listener
	StubCertificate *tls.Certificate
	// Known are failures of it that are known.
	Known []Known
	// Dial is what a client under test does (role client): it is asked to open a tunnel to addr.
	Dial func(ctx context.Context, req DialRequest) (net.Conn, DialReport, error)
}

// Path is one way to the target.
type Path struct {
	// Name is the path's name in reports: direct, alb-https.
	Name string
	// Address is host:port of the first hop.
	Address string
	// Upgrade says how to get a tunnel on this path; nil when the router's port is reached directly.
	Upgrade *UpgradePath
	// IdleTimeout is after how much silence the path is cut, zero when unknown or never.
	IdleTimeout time.Duration
}

// UpgradePath is an HTTP endpoint that upgrades.
type UpgradePath struct {
	// TLS is set when the endpoint is HTTPS; Roots and ServerName verify it.
	TLS        bool
	Roots      *x509.CertPool
	ServerName string
	Host       string
	// Path of the endpoint, and the upgrade types it is configured with.
	Path  string
	Types []string
	// PingInterval is how often the router pings, zero when unknown.
	PingInterval time.Duration
	// Intermediary is set when a load balancer stands before the router: raw HTTP checks of the router do not run here.
	Intermediary bool
}

// Types of other rooms that a program outside of this module needs a name for.
type (
	// Record is what a witness saw of one connection.
	Record = witness.Record
	// Result is what came of a run.
	Result = result.Conformance
	// Verdict is what came of one check.
	Verdict = result.CheckVerdict
	// Clause is a place in a document.
	Clause = result.Clause
)

// Witness is asked what it saw. Accepted counts TCP connections since it started.
type Witness interface {
	Find(nonce string) []Record
	Accepted() int64
}

// DialRequest is what a client under test is asked to do; the fields are those of DESIGN.md section 7.
type DialRequest struct {
	Address                string
	SNI                    string
	ALPN                   []string
	OuterRoots, InnerRoots *x509.CertPool
	// OuterCA and InnerCA are the same as PEM.
	OuterCA, InnerCA []byte
	// OuterSNI is the name of the load balancer, for its certificate.
	OuterSNI string
	Client   *tls.Certificate
	Upgrade  string
}

// DialReport is what it answered.
type DialReport struct {
	Class, Upgrade, ALPN string
}

// Fixture names the routes every router target is configured with before checks run. Names end in the given Domain.
//
//	route  sni                     alpn                         mode         client_auth  witness
//	a      a.DOMAIN                trb-a, trb-both              terminate    none         A
//	b      b.DOMAIN                trb-b, trb-both              terminate    none         B
//	wild   *.wild.DOMAIN           trb-wild                     terminate    none         A
//	deep   *.deep.wild.DOMAIN      trb-wild                     terminate    none         B
//	web    a.DOMAIN                http/1.1 (and no ALPN)       terminate    none         B
//	any    (none)                  trb-any                      terminate    none         B
//	mtls   mtls.DOMAIN             trb-mtls                     terminate    require CA A A
//	mtls2  mtls2.DOMAIN            trb-mtls                     terminate    require CA B B
//	pass   pass.DOMAIN, *.pass.DOMAIN (any ALPN)                passthrough  -            A (TLS)
//	dead   dead.DOMAIN             trb-dead                     terminate    none         a closed port
//	exact  exact.wild.DOMAIN       trb-wild                     terminate    none         B
type Fixture struct {
	// Domain is conformance.example.test unless set.
	Domain string
	// WitnessA and WitnessB are keys of Target.Witnesses.
	WitnessA, WitnessB string
	// ClientA and ClientB are client certificates of CA A (routes mtls) and CA B (route mtls2); Expired is of CA A and over.
	ClientA, ClientB, Expired *tls.Certificate
	// ClientChain is of CA A too, with two authorities between: as long as three certificates of 8192 bits, ChainBytes or more.
	ClientChain *tls.Certificate
	// ECHConfigs is the ECHConfigList of a router with the feature ech-split; its public name is none that a check asks for.
	ECHConfigs []byte
	// WitnessCA is a PEM file of the authority that verifies the witnesses, for a router that speaks TLS to them.
	WitnessCA string
	// Own is the router's own name (its HTTP endpoint).
	Own string
}
