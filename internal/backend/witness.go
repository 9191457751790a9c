package backend

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

func init() { Register(Driver{Kind: Witness, Name: Embedded, Start: startWitness}) }

func startWitness(_ context.Context, spec Spec, r *Running) error {
	if len(spec.Certificate.Certificate) == 0 {
		cert, err := certs.SelfSigned(certs.Leaf{CommonName: "witness", DNS: []string{"witness.example.test"}})
		if err != nil {
			return fmt.Errorf("make a certificate: %w", err)
		}
		spec.Certificate = cert
	}
	w := &witnessServer{name: spec.Name, cert: spec.Certificate, keyLog: spec.KeyLog, records: newWitnessLog()}
	w.handle = w.serve
	r.Info.Product, r.Info.Version = "tlsroute-bench witness", "1"
	r.Info.Note = "protocol server: says what it saw of each connection, and does what it is ordered to. It does not do: anything that is not in the orders of this toolkit's own " +
		"protocol"
	r.Witness = w.records
	if err := serve(spec, r, &w.server); err != nil {
		return err
	}
	return nil
}

type witnessServer struct {
	server
	name    string
	cert    tls.Certificate
	keyLog  io.Writer
	records *witnessLog
}

// session is one connection to the witness.
type session struct {
	w     *witnessServer
	raw   *rawConn      // the TCP connection with what was read ahead of it
	conn  net.Conn      // raw, or the TLS connection over it
	br    *bufio.Reader // over conn; holds what came behind the order line
	entry *entry
	order witness.Order

	behind []byte // the ClientHello, of a handshake that failed
}

func (w *witnessServer) serve(c net.Conn) {
	w.records.accepted.Add(1)
	s := &session{w: w, raw: &rawConn{Conn: c}, entry: &entry{}}
	s.raw.br = bufio.NewReaderSize(&idleConn{c, idleTimeout}, witness.MaxLine)
	s.conn, s.br = s.raw, s.raw.br
	s.entry.rec = witness.Record{Witness: w.name, Started: time.Now().UTC(), Remote: c.RemoteAddr().String()}

	// The order must come in time; the timer is no read deadline since idleConn sets those. A connection without an order
	// lives as long as it sends.
	late := time.AfterFunc(loginTimeout, func() { c.Close() })
	defer late.Stop()
	if err := s.begin(); err != nil {
		s.finish(endOf(err), s.refused())
		return
	}
	if request, ok := s.cancelRequest(); ok {
		// As PostgreSQL does: it is taken, and the connection closed without a word.
		late.Stop()
		sum := sha256.Sum256(request)
		s.entry.in.Add(int64(len(request)))
		s.finish("eof", hex.EncodeToString(sum[:]))
		s.conn.Close()
		return
	}
	line, err := s.br.ReadSlice('\n')
	order, ok := witness.ParseOrder(line)
	late.Stop()
	if err != nil || !ok {
		// Not an order: what was looked at counts as payload, the line as well.
		end, sum := s.drain(line, err)
		s.finish(end, sum)
		s.conn.Close()
		return
	}
	s.order = order
	s.follow()
}

// begin reads the PROXY header if there is one, then ends TLS if the client begins with it.
func (s *session) begin() error {
	proxied, err := looksProxied(s.raw.br)
	if err != nil {
		return err
	}
	if proxied {
		header, err := proxyproto.Read(s.raw.br)
		if err != nil {
			return fmt.Errorf("read PROXY header: %w", err)
		}
		text, err := proxyText(header)
		if err != nil {
			return fmt.Errorf("read PROXY header: %w", err)
		}
		tlvs, err := header.TLVs()
		if err != nil {
			return fmt.Errorf("read PROXY header: %w", err)
		}
		s.entry.rec.Proxy, s.entry.rec.ProxyVersion = text, int(header.Version)
		for _, tlv := range tlvs {
			if s.entry.rec.ProxyTLVs == nil {
				s.entry.rec.ProxyTLVs = map[string]string{}
			}
			s.entry.rec.ProxyTLVs[fmt.Sprintf("%02x", byte(tlv.Type))] = hex.EncodeToString(tlv.Value)
		}
	}
	first, err := s.raw.br.Peek(1)
	if err != nil {
		return err
	}
	if first[0] != 0x16 { // TLS handshake record
		return nil
	}
	conn, seen, behind, err := s.w.handshake(s.raw)
	s.entry.rec.TLS = seen
	if err != nil {
		s.behind = behind
		return fmt.Errorf("TLS handshake: %w", err)
	}
	s.conn, s.br = conn, bufio.NewReaderSize(conn, witness.MaxLine)
	return nil
}

// cancelRequest takes a CancelRequest of PostgreSQL, which is 16 bytes and nothing behind them.
func (s *session) cancelRequest() ([]byte, bool) {
	const length, code = 16, 80877102
	if first, err := s.br.Peek(1); err != nil || first[0] != 0 {
		return nil, false // an order is text
	}
	request, err := s.br.Peek(length)
	if err != nil || binary.BigEndian.Uint32(request) != length || binary.BigEndian.Uint32(request[4:]) != code {
		return nil, false
	}
	return request, true
}

// looksProxied tells whether a PROXY header (v1 or v2) comes, reading no further ahead than the signatures agree.
func looksProxied(br *bufio.Reader) (bool, error) {
	sigs := [][]byte{[]byte("PROXY "), []byte("\r\n\r\n\x00\r\nQUIT\n")}
	for _, sig := range sigs {
		for n := 1; ; n++ {
			head, err := br.Peek(n)
			if len(head) < n {
				if n == 1 {
					return false, err // nothing came at all
				}
				return false, nil // ended inside: no header; the reader meets the end again
			}
			if head[n-1] != sig[n-1] {
				break
			}
			if n == len(sig) {
				return true, nil
			}
		}
	}
	return false, nil
}

// proxyText writes a header in its text form, that of version 1, whichever version came.
func proxyText(h *proxyproto.Header) (string, error) {
	if h.Command.IsLocal() || h.TransportProtocol == proxyproto.UNSPEC {
		return "PROXY UNKNOWN", nil
	}
	src, dst, ok := h.TCPAddrs()
	if !ok {
		return "", fmt.Errorf("addresses of type %#x", byte(h.TransportProtocol))
	}
	family := "TCP4"
	if h.TransportProtocol == proxyproto.TCPv6 {
		family = "TCP6"
	}
	return fmt.Sprintf("PROXY %s %s %s %d %d", family, src.IP, dst.IP, src.Port, dst.Port), nil
}

// finish completes the record. It comes before the connection is closed, so that who sees the end finds the record.
func (s *session) finish(end, sum string) {
	s.w.records.update(s.entry, func(rec *witness.Record) {
		rec.End, rec.SHA256, rec.Finished = end, sum, true
	})
}

var errTruncated = errors.New("TCP ended without close_notify")
