package backend

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"net"
	"sync"
)

// MySQLSHA2User is an account of the embedded server that logs in by caching_sha2_password, as every account of MySQL 8 does that was not told
// otherwise. Its password is that of Access.User, who logs in by mysql_native_password.
const MySQLSHA2User = "tlsroute_sha2"

// login greets, for in this protocol the server speaks first, and checks who answers.
func (m *mysqlServer) login(c *mysqlConn) error {
	nonce := []byte(rand.Text()[:20]) // printable: no NUL may be in it
	flags := uint32(mysqlLongPassword | mysqlConnectWithDB | mysqlProtocol41 | mysqlTransactions | mysqlSecure | mysqlPluginAuth | mysqlLenencAuthData)
	if m.tls != nil {
		flags |= mysqlTLS
	}
	c.write(mysqlGreeting(m.ids.Add(1), flags, nonce))
	if err := c.flush(); err != nil {
		return err
	}
	body, err := c.read()
	if err != nil {
		return err
	}
	secure := len(body) == 4+4+1+23 && m.tls != nil && body[1]&(mysqlTLS>>8) != 0 // an SSLRequest is a handshake response without a user
	if secure {
		if err := c.startTLS(m.tls); err != nil {
			return err
		}
		if body, err = c.read(); err != nil {
			return err
		}
	}
	client, err := parseMySQLResponse(body)
	if err != nil {
		return err
	}
	if client.flags&mysqlTLS != 0 && !secure || client.flags&mysqlProtocol41 == 0 || client.flags&mysqlSecure == 0 {
		return &mysqlError{1043, "08S01", "Bad handshake: the embedded protocol server wants protocol 4.1 and offers no TLS"}
	}
	plugin, check := mysqlNativePassword, m.checkNative
	if client.user == MySQLSHA2User {
		plugin, check = mysqlCachingPassword, m.checkCaching
	}
	answer := client.answer
	if client.plugin != plugin {
		if answer, err = c.ask(append(append([]byte("\xfe"+plugin+"\x00"), nonce...), 0)); err != nil { // AuthSwitchRequest
			return err
		}
	}
	ok, err := check(c, answer, nonce, secure)
	if err != nil {
		return err
	}
	if !ok || client.user != userName && client.user != MySQLSHA2User {
		host, _, _ := net.SplitHostPort(c.conn.RemoteAddr().String())
		return &mysqlError{1045, "28000", fmt.Sprintf("Access denied for user '%s'@'%s' (using password: %s)", client.user, host, yesNo(len(answer) > 0))}
	}
	if client.database != "" && client.database != databaseName {
		return unknownDatabase(client.database)
	}
	c.ok()
	return c.flush()
}

// mysqlGreeting is HandshakeV10.
func mysqlGreeting(id, flags uint32, nonce []byte) []byte {
	b := append([]byte{10}, mysqlVersionText...)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = append(b, nonce[:8]...)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(flags))
	b = append(b, mysqlCharset)
	b = binary.LittleEndian.AppendUint16(b, mysqlAutocommit)
	b = binary.LittleEndian.AppendUint16(b, uint16(flags>>16))
	b = append(b, byte(len(nonce)+1))
	b = append(b, make([]byte, 10)...)
	b = append(b, nonce[8:]...)
	b = append(b, 0)
	return append(b, mysqlNativePassword+"\x00"...)
}

// mysqlResponse is what a client answers the greeting.
type mysqlResponse struct {
	flags                  uint32
	user, database, plugin string
	answer                 []byte
}

func parseMySQLResponse(body []byte) (mysqlResponse, error) {
	r := mysqlReader{b: body}
	c := mysqlResponse{flags: r.uint32(), plugin: mysqlNativePassword}
	r.take(4 + 1 + 23) // packet size, character set, filler
	c.user = r.text()
	if c.flags&mysqlLenencAuthData != 0 {
		c.answer = []byte(r.string())
	} else {
		c.answer = r.take(int(r.byte()))
	}
	if c.flags&mysqlConnectWithDB != 0 {
		c.database = r.text()
	}
	if c.flags&mysqlPluginAuth != 0 {
		c.plugin = r.text()
	}
	if r.bad {
		return c, &mysqlError{1043, "08S01", "Bad handshake: the packet ends too soon"}
	}
	return c, nil
}

// ask sends a packet and reads the answer to it.
func (c *mysqlConn) ask(packet []byte) ([]byte, error) {
	c.write(packet)
	if err := c.flush(); err != nil {
		return nil, err
	}
	return c.read()
}

func (m *mysqlServer) checkNative(_ *mysqlConn, answer, nonce []byte, _ bool) (bool, error) {
	return subtle.ConstantTimeCompare(answer, scrambleNative(m.password, nonce)) == 1, nil
}

// checkCaching is caching_sha2_password. Whoever has logged in before is known by a scramble; before that the server wants the password
// itself, under TLS as it is, else encrypted for its RSA key, which it is asked for.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html
func (m *mysqlServer) checkCaching(c *mysqlConn, answer, nonce []byte, secure bool) (bool, error) {
	const more, askKey, fast, full = 1, 2, 3, 4
	if m.known.Load() && subtle.ConstantTimeCompare(answer, scrambleCaching(m.password, nonce)) == 1 {
		c.write([]byte{more, fast}) // the OK follows at once
		return true, nil
	}
	password, err := c.ask([]byte{more, full})
	if err != nil {
		return false, err
	}
	if !secure {
		key, public, err := m.key.get()
		if err != nil {
			return false, err
		}
		if len(password) == 1 && password[0] == askKey {
			if password, err = c.ask(append([]byte{more}, public...)); err != nil {
				return false, err
			}
		}
		// Whoever sends it in the clear is not listened to, as by MySQL: it is not encrypted for this key, and then empty.
		password, _ = rsa.DecryptOAEP(sha1.New(), nil, key, password, nil)
		for i := range password {
			password[i] ^= nonce[i%len(nonce)]
		}
	}
	ok := subtle.ConstantTimeCompare(password, append([]byte(m.password), 0)) == 1
	if ok {
		m.known.Store(true)
	}
	return ok, nil
}

// scrambleCaching is what caching_sha2_password sends for a password: SHA256(p) XOR SHA256(SHA256(SHA256(p)) + nonce).
func scrambleCaching(password string, nonce []byte) []byte {
	hash := sha256.Sum256([]byte(password))
	stored := sha256.Sum256(hash[:])
	salted := sha256.Sum256(append(stored[:], nonce...))
	out := make([]byte, sha256.Size)
	subtle.XORBytes(out, hash[:], salted[:])
	return out
}

// rsaKey is made when it is first needed.
type rsaKey struct {
	once   sync.Once
	key    *rsa.PrivateKey
	public []byte // PEM
	err    error
}

func (k *rsaKey) get() (*rsa.PrivateKey, []byte, error) {
	k.once.Do(func() {
		if k.key, k.err = rsa.GenerateKey(rand.Reader, 2048); k.err != nil {
			return
		}
		var der []byte
		der, k.err = x509.MarshalPKIXPublicKey(&k.key.PublicKey)
		k.public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	})
	return k.key, k.public, k.err
}
