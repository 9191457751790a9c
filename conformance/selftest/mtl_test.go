package selftest

import (
	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

func init() {
	addMutant("MTL-01", "asks for a certificate and does without", mutatedConfig(func(_ *lab, c *router.Config) {
		routeNamed(c, "mtls").ClientAuth.Mode = router.AuthRequest
	}))
	addMutant("MTL-01", "dials before the handshake is done", naiveWith(bugs{dialFirst: true}))
	addMutant("MTL-02", "one pool for all authorities", mutatedConfig(func(l *lab, c *router.Config) {
		routeNamed(c, "mtls").ClientAuth.CA = l.files["both"]
		routeNamed(c, "mtls2").ClientAuth.CA = l.files["both"]
	}))
	addMutant("MTL-03", "looks at no certificate", naiveWith(bugs{anyCert: true}))
	addMutant("MTL-03", "does not look at the dates", naiveWith(bugs{anyDate: true}))
	addMutant("MTL-05", "ends TLS where it should pass", mutatedConfig(func(_ *lab, c *router.Config) {
		routeNamed(c, "pass").Mode = conformance.ModeTerminate
	}))
}
