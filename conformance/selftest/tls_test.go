package selftest

import "github.com/tlsroute/tlsroute-bench/refimpl/router"

func init() {
	addMutant("TLS-01", "routes by ALPN alone", naiveWith(bugs{ignoreSNI: true}))
	addMutant("TLS-01", "both names lead to one backend", mutatedConfig(func(_ *lab, c *router.Config) {
		routeNamed(c, "b").Backend = routeNamed(c, "a").Backend
	}))
	addMutant("TLS-02", "compares bytes", naiveWith(bugs{caseSensitive: true}))
	addMutant("TLS-02", "compares bytes for client authentication only", naiveWith(bugs{caseSensitiveAuth: true}))
	addMutant("TLS-03", "matches any end of a name", naiveWith(bugs{lazySuffix: true}))
	addMutant("TLS-04", "the shorter wildcard wins", naiveWith(bugs{shortestFirst: true}))
	addMutant("TLS-04", "a wildcard wins over the exact name", naiveWith(bugs{wildcardFirst: true}))
	addMutant("TLS-05", "default route for unknown names", naiveWith(bugs{defaultRoute: true}))
	addMutant("TLS-06", "default route without a name", naiveWith(bugs{defaultRoute: true}))
	addMutant("TLS-07", "ends a name at its first NUL", naiveWith(bugs{cString: true}))
	addMutant("TLS-10", "goes on without a common protocol", naiveWith(bugs{ignoreALPN: true}))
	addMutant("TLS-10", "closes without an alert", naiveWith(bugs{silent: true}))
	addMutant("TLS-11", "answers ALPN that was not offered", unsolicitedALPN)
	addMutant("TLS-11", "takes the first route of the name", naiveWith(bugs{ignoreALPNWithout: true}))
	addMutant("TLS-13", "confirms nothing", naiveWith(bugs{unconfirmed: true}))
	addMutant("TLS-14", "name or ALPN is enough", naiveWith(bugs{eitherMatches: true}))
	addMutant("TLS-14", "only the first offer counts", naiveWith(bugs{firstOnly: true}))
	addMutant("TLS-16", "only the first offer counts", naiveWith(bugs{firstOnly: true}))
}
