package capture

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// Bounds of what is looked at of a connection: a ClientHello, behind a PROXY header, and the ServerHello.
const (
	mostHello  = 128 << 10
	mostAnswer = 32 << 10
)

// session is a TLS session that begins a connection.
type session struct {
	random string // of the ClientHello, in hex, as key logs have it
	begun  bool   // the server has answered with a ServerHello: from then on there are secrets
}

// sessionsOf finds the sessions that begin the chosen connections.
func sessionsOf(frames []liveFrame, chosen map[flow]bool) map[flow]session {
	type ways struct{ client, server stream }
	conns := map[flow]*ways{}
	for f := range chosen {
		conns[f] = &ways{stream{limit: mostHello}, stream{limit: mostAnswer}}
	}
	d := newDecoder()
	for _, f := range frames {
		var way *stream
		if c := conns[flow{f.src, f.dst}]; c != nil {
			way = &c.client
		} else if c := conns[flow{f.dst, f.src}]; c != nil {
			way = &c.server
		}
		if way == nil || !d.decode(f.data) {
			continue
		}
		if d.tcp.SYN {
			way.syn(d.tcp.Seq)
		}
		way.add(d.tcp.Seq, d.tcp.Payload)
	}
	sessions := map[flow]session{}
	for f, c := range conns {
		if h, _, err := hello(c.client.data); err == nil {
			_, refused := serverHello(c.server.data)
			sessions[f] = session{hex.EncodeToString(h.Random), refused == nil}
		}
	}
	return sessions
}

// lines are those of some client randoms.
func (k *KeyLog) lines(randoms map[string]bool) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found []byte
	for line := range bytes.Lines(k.text) {
		if f := bytes.Fields(line); len(f) == 3 && randoms[string(f[1])] {
			found = append(found, line...)
		}
	}
	return found
}

// randomsIn are the client randoms of the sessions of a key log.
func randomsIn(keylog string) map[string]bool {
	randoms := map[string]bool{}
	for line := range strings.Lines(keylog) {
		if f := strings.Fields(line); len(f) == 3 && strings.HasPrefix(f[0], "CLIENT_") {
			randoms[f[1]] = true
		}
	}
	return randoms
}
