package wire

import "encoding/binary"

// The requests that a PostgreSQL client may begin with (PostgreSQL documentation, "Message Formats").
const (
	postgresCancel = 80877102
	postgresSSL    = 80877103
	postgresGSS    = 80877104
)

// PostgresSSLRequest asks for TLS, PostgresGSSRequest for GSSAPI.
func PostgresSSLRequest() []byte { return postgresRequest(postgresSSL) }

// PostgresGSSRequest asks for GSSAPI encryption.
func PostgresGSSRequest() []byte { return postgresRequest(postgresGSS) }

// PostgresCancelRequest asks to cancel what a session, known by its process and its secret, is doing.
func PostgresCancelRequest(process, secret uint32) []byte {
	return postgresRequest(postgresCancel, process, secret)
}

// PostgresStartup is a StartupMessage of protocol 3.0.
func PostgresStartup(user string) []byte {
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	body = append(body, "user\x00"+user+"\x00\x00"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
}

func postgresRequest(words ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+4*len(words)))
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}
