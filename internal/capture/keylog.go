package capture

import (
	"bytes"
	"encoding/hex"
	"sync"
)

// maxKeyLog bounds the key log, in bytes: about 40,000 connections of TLS 1.3. What is over is not kept.
const maxKeyLog = 32 << 20

// KeyLog takes the lines that crypto/tls writes to Config.KeyLogWriter. The zero value is ready; it is safe for concurrent
// use. Write never fails: a handshake must not fail because somebody looks.
type KeyLog struct {
	mu      sync.Mutex // guards all below
	text    []byte
	parsed  int // text before this has been read into secrets
	secrets map[[32]byte][]byte
}

// Write adds key log lines, whole or in parts.
func (k *KeyLog) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.text)+len(p) <= maxKeyLog {
		k.text = append(k.text, p...)
	}
	return len(p), nil
}

// Bytes is the key log so far, for [WritePcapng].
func (k *KeyLog) Bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.text)
}

// clientHandshake is the secret that the client's handshake flight of TLS 1.3 is encrypted under, found by its random.
func (k *KeyLog) clientHandshake(random [32]byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.secrets == nil {
		k.secrets = map[[32]byte][]byte{}
	}
	for {
		end := bytes.IndexByte(k.text[k.parsed:], '\n')
		if end < 0 {
			return k.secrets[random]
		}
		line := k.text[k.parsed : k.parsed+end]
		k.parsed += end + 1
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != "CLIENT_HANDSHAKE_TRAFFIC_SECRET" || len(fields[1]) != 64 {
			continue
		}
		var key [32]byte
		secret := make([]byte, hex.DecodedLen(len(fields[2])))
		if _, err := hex.Decode(key[:], fields[1]); err != nil {
			continue
		}
		if _, err := hex.Decode(secret, fields[2]); err != nil {
			continue
		}
		k.secrets[key] = secret
	}
}
