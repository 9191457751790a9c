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
//	   else:  closed
//
// [Config] is the document that configures it (DESIGN.md, section 5); [New] validates all of it before anything listens.
// [Server.Serve] runs until its context ends or [Server.Shutdown] is called, and both drain: no new connections, open ones
// live until drain.timeout and are then reset. [Server.Reload] changes routes, certificates and policies for connections
// that come later and touches none that is open.
//
// # What the document leaves open, and what is done here
//
//   - backend.tls "on" and "starttls-postgres" verify the backend's certificate against the host part of backend.address
//     with [Options].BackendRoots, which is the system's roots when nil (SSL_CERT_FILE names another bundle). There is no switch to
//     turn that off. On "on", ALPN is offered to the backend only when the confirmed name is h2 or http/1.1: the names of
//     this port mean nothing to it.
//   - backend.tls and client_auth belong to a router that ends TLS, so a passthrough route that sets them is refused.
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
// Sources: facts/tls-routing.md sections 1.4 to 1.9 and 6; RFC 7301 (ALPN), RFC 6066 section 3 (SNI), RFC 9112 (HTTP/1.1).
package router
