package wire

import "encoding/binary"

// Capabilities of MySQL's connection phase.
const (
	mysqlProtocol41 = 0x200
	mysqlSSL        = 0x800
	mysqlSecure     = 0x8000
)

// MySQLSSLRequest asks for TLS, as the packet of that number.
func MySQLSSLRequest(number byte) []byte {
	body := binary.LittleEndian.AppendUint32(nil, mysqlProtocol41|mysqlSSL|mysqlSecure)
	body = binary.LittleEndian.AppendUint32(body, 1<<24)
	body = append(body, 45) // utf8mb4_general_ci
	return mysqlPacket(number, append(body, make([]byte, 23)...))
}

// MySQLQuery is a COM_QUERY.
func MySQLQuery(text string) []byte { return mysqlPacket(0, append([]byte{3}, text...)) }

// MySQLGreeting is the server's first packet, with TLS among its capabilities.
func MySQLGreeting(version string) []byte {
	const capabilities = mysqlProtocol41 | mysqlSSL | mysqlSecure
	body := append([]byte{10}, version+"\x00"...)
	body = binary.LittleEndian.AppendUint32(body, 1)
	body = append(body, "12345678\x00"...)
	body = binary.LittleEndian.AppendUint16(body, capabilities&0xffff)
	body = append(body, 45, 2, 0, 0, 0, 21)
	body = append(body, make([]byte, 10)...)
	return mysqlPacket(0, append(body, "123456789012\x00"...))
}

func mysqlPacket(number byte, body []byte) []byte {
	n := len(body)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), number}, body...)
}
