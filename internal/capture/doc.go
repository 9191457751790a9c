// Package capture reads ClientHellos off a network interface and writes packet files, and is the only package that
// imports gopacket.
//
// [Start] opens a raw packet socket on the loopback interface, which needs root or CAP_NET_RAW; without it the error is
// [ErrNotPermitted] and the caller falls back to a tap in the process. Only TCP segments from or to the ports of the given
// hops reach it (a filter in the kernel), each connection is put together from its SYN on as far as its handshake needs,
// and [Session.Stop] says per connection what its ClientHello carried and whether a client certificate came. In TLS 1.2
// the certificate is in the clear. In TLS 1.3 it is encrypted and a [KeyLog] is needed to see it; without one it is not
// known, which is not the same as none.
//
// [WritePcapng] needs no right at all: it makes packets out of recorded reads and writes, with the key log inside the file
// so that Wireshark decrypts it.
//
// Everything is bounded: bytes per connection, connections, and bytes in all ([Session.Lost] counts what was let go). The
// decoders here are fed with traffic of this machine only.
//
// Sources: RFC 8446 and RFC 9846 (TLS 1.3) sections 4.1, 4.4.2, 5.2 and 7.1; RFC 5246 section 7.4.6; packet(7);
// draft-ietf-opsawg-pcapng (Decryption Secrets Block); the NSS key log format (RFC 9850).
package capture
