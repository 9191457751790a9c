// Package router is the reference router: one TLS port for many services, chosen by SNI and then by ALPN, reachable
// directly and through a layer-7 load balancer by an HTTP connection upgrade.
//
// A connection goes one way through it:
//
//	accept -> limits -> PROXY header -> first bytes
//	   TLS:   ClientHello (peeked) -> route
//	            passthrough: dial the backend, replay the hello unmodified, join
//	            terminate:   handshake, then dial the backend, join
//	            own name:    handshake, then the HTTP endpoint
//	            no match:    alert 120 (ALPN) or 112 (name); no backend is dialled
//	   HTTP:  the HTTP endpoint: the upgrade path and nothing else; behind the 101 the tunnel starts over at "first bytes"
//	   else:  closed, unless "plaintext" has a route for it
//
// [Config] is the document that configures it (DESIGN.md, section 5); [New] validates all of it before anything listens.
// [Server.Serve] runs until its context ends or [Server.Shutdown] is called, and both drain: no new connections, open ones
// live until drain.timeout and are then reset. [Server.Reload] changes routes, certificates and policies for connections
// that come later and touches none that is open.
//
// # Other protocols on the port
//
// A connection that begins with neither TLS nor HTTP is closed, unless the optional object "plaintext" names a route for it:
//
//	plaintext:
//	  postgres: pg
//	  ssh: ssh
//	  server_first: {route: mysql, after: 300ms}
//
// Each value is the name of a route, whose backend gets the connection; "after" is 300ms when it is left out.
//
//   - postgres: an SSLRequest is answered S, a GSSENCRequest before it N. The ClientHello that must follow is routed by the table, so psql
//     with sslmode=require (or verify-full) needs no local proxy. Two things differ from other ClientHellos: one without ALPN (psql
//     before 17) counts as one that offers "postgresql", not "http/1.1", and without a name, or with an own one, it goes to this route
//     when no other takes it. The route must take ALPN "postgresql". A passthrough backend is sent an SSLRequest of its own before the
//     ClientHello. Anything but TLS behind the answer is closed and reaches no backend (CVE-2021-23214, CVE-2021-23222). TLS without
//     an SSLRequest (sslnegotiation=direct) is TLS like any other and needs nothing here but ALPN "postgresql" in a route.
//   - A CancelRequest in the clear, as psql before 17 sends it even where the session is under TLS, names nothing to route by: it goes to
//     this route's backend, through that backend's TLS if it has one, and no byte behind it does. With several databases behind one
//     port, cancelling works at this one only; clients that cancel under TLS reach the right one.
//   - ssh: a stream that begins with "SSH-" is joined to this route's backend.
//   - server_first: a connection whose client says nothing for "after" is joined to this route's backend: a client of MySQL waits for the
//     server's greeting, and each of its connections takes that much longer. A TLS client whose first segment is lost sends it again
//     after a second (RFC 6298), too late for a shorter "after". What connects and waits, a health check for one, is
//     taken for such a client too, and MySQL blocks a host that does so too often (max_connect_errors). Tunnels are exempt: through an
//     upgrade the client speaks first.
//
// A route that requires a client certificate cannot be the ssh or server_first route. HTTP/2 in the clear (prior knowledge) is answered as
// it is under TLS: 404, and 505 on the upgrade path.
//
// # What the document leaves open, and what is done here
//
//   - backend.tls other than off verifies the backend's certificate against backend.server_name, or else the host of the address, with
//     backend.ca, or else [Options].BackendRoots, which is the system's roots when nil (SSL_CERT_FILE names another bundle). There is
//     no switch to turn that off. Without backend.alpn, "on" offers ALPN only when the confirmed name is h2 or http/1.1: the names
//     of this port mean nothing to it. A backend that does not confirm what was offered is not used, except that no ALPN at all
//     means http/1.1.
//   - starttls-mysql passes the greeting on without CLIENT_SSL and renumbers the login, since the SSLRequest that the server counts is
//     none of the client's. The server must offer TLS. It takes the client for one that sees the TLS: a caching_sha2_password login
//     that is not in the server's cache fails, where mysql_native_password and ed25519 work.
//   - backend.addresses are tried in their order; an address that failed (TCP, PROXY header, STARTTLS, TLS, greeting) is tried last for
//     10s, one that the active check finds down as long as it is. Failures are not shared between routes, and a reload forgets them.
//     When all are suspect all are tried. After the first byte of the client's there is no second try: only the client knows what it
//     may repeat. TLS under starttls-mysql is as late as that, and does not count against the address: the client has a say in the
//     SSLRequest.
//   - send_proxy v2 carries AUTHORITY (the SNI, up to 255 bytes) and, on a terminate route, ALPN and SSL with the version, whether there
//     was a certificate, the verdict and, of a verified one, the CN. v1 has no room for any of it. The address is that of the client:
//     the one in a trusted PROXY header or X-Forwarded-For, where port 0 says that the port is not known.
//   - tickets: a session is resumed under its own name, ALPN, route and document only. Where a certificate is asked for there are none.
//   - acme-tls/1 (RFC 8737) is a route like any other: without sni it takes the validation of every name, an own one included, except
//     names of a route without alpn; for these list the names in the ACME route's sni. In mode terminate the route's certificates
//     answer.
//   - backend.tls and client_auth belong to a router that ends TLS, so a passthrough route that sets them is refused, but for
//     backend.tls starttls-postgres: a client whose TLS came through a tunnel, or at once, has sent no SSLRequest, and PostgreSQL before 17
//     takes no other beginning, and 17 none without ALPN "postgresql". A CancelRequest in the clear goes there in the clear.
//   - A backend that cannot be reached: the client of a terminate route has finished its handshake by then; its
//     connection is reset, without close_notify, so that it cannot be taken for an empty answer. A passthrough client gets
//     a reset too.
//   - client_hello_timeout bounds, each on its own, the PROXY header, the ClientHello, the rest of the handshake and the
//     header of an HTTP request. A kept-alive HTTP connection may idle for two minutes: longer than the 60 s of an AWS ALB.
//   - The source address inside a tunnel is inherited: no PROXY header is asked for or accepted there. An address learned
//     from X-Forwarded-For has port 0, since the header does not carry the client's.
//   - ALPN tlsroute-probe/1, when no route takes another name of the client's list, is confirmed for any name, and the connection is
//     closed politely once the client has closed, sent anything or 5 s have passed.
//   - The HTTP endpoint confirms http/1.1 when it is offered, whatever the client's order, since h2 has no upgrade. A client that
//     offers h2 alone is confirmed h2 and served it: 404, and 505 on the upgrade path. Its connection counts under the TCP peer.
//   - A name of more than 255 bytes and a cause of more than 512 are cut in the log.
//   - drain.timeout 0s means the default, as every zero does: a stop that cuts at once is Shutdown with a context that has ended.
//   - connections_per_ip counts the TCP peer, or the source that a PROXY header names. A peer in forwarded_for.trusted is not counted
//     until its ClientHello or request is read: a connection to the endpoint counts under the address in X-Forwarded-For; one too many is
//     answered with 429.
//
// Sources: facts/tls-routing.md sections 1.4 to 1.9 and 6; RFC 7301 (ALPN), RFC 6066 section 3 (SNI), RFC 9112 (HTTP/1.1), RFC 8737
// (acme-tls/1), the PROXY protocol's section 2.2, MySQL's "Connection Phase".
package router
