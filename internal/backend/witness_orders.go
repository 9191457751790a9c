package backend

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/netx"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

const (
	// lingerTime is how long the witness reads on after its own end of the stream, so that bytes under way from the
	// client do not turn its FIN into a RST.
	lingerTime = 2 * time.Second
	// maxStall bounds Order.ForMS.
	maxStall = 10 * time.Minute
)

// follow does what the order says and leaves a finished record.
func (s *session) follow() {
	o := s.order
	rec := s.w.records.update(s.entry, func(rec *witness.Record) { rec.Nonce = o.Nonce })
	if err := s.sendRecord(rec); err != nil {
		s.finish(endOf(err), "")
		return
	}
	in := sha256.New()
	switch o.Do {
	case witness.Echo:
		end := s.echo(in)
		if end == "eof" {
			s.closeWrite()
		}
		s.over(end, in)
	case witness.Bulk:
		end := s.bulk()
		if end == "eof" {
			s.closeWrite()
		}
		s.finish(end, "")
		s.raw.Close()
	case witness.Sink:
		s.sink(in)
	case witness.Stall:
		stall := time.NewTimer(min(time.Duration(min(o.ForMS, maxStall.Milliseconds()))*time.Millisecond, maxStall))
		select {
		case <-stall.C:
		case <-s.w.quit:
			stall.Stop()
		}
		s.sink(in)
	case witness.Source:
		if err := s.sendPattern(); err != nil {
			s.over(endOf(err), in)
			return
		}
		s.closeWrite()
		s.over(s.read(in), in)
	case witness.AfterEOF:
		end := s.read(in)
		if end == "eof" {
			if err := s.sendPattern(); err != nil {
				end = endOf(err)
			} else {
				s.closeWrite()
			}
		}
		s.over(end, in)
	case witness.HalfClose:
		s.closeWrite()
		s.over(s.read(in), in)
	case witness.Reset:
		// The record is in the receiver's queue by now: on loopback a write delivers before it returns.
		n, _ := io.CopyN(in, s.br, o.Bytes) // who has gone is reset as well
		s.entry.in.Add(n)
		s.finish("", hexOf(in))
		_ = netx.Reset(s.raw)
	case witness.Close:
		s.closeWrite()
		_ = s.raw.CloseWrite()
		s.over(s.linger(in), in)
	case witness.Truncate:
		err := s.sendPattern()
		_ = s.raw.CloseWrite() // past TLS: no close_notify
		if err != nil {
			s.over(endOf(err), in)
			return
		}
		end := s.linger(in)
		s.finish(end, hexOf(in))
		s.raw.Close()
	}
}

// over completes the record and closes; after an abnormal end of the client without a word of goodbye.
func (s *session) over(end string, in hash.Hash) {
	s.finish(end, hexOf(in))
	if end == "eof" {
		s.conn.Close()
	} else {
		s.raw.Close()
	}
}

func (s *session) sendRecord(rec witness.Record) error {
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if len(line) >= witness.MaxLine && rec.TLS != nil {
		// A list of thousands of protocols; the hash tells the rest.
		short := *rec.TLS
		short.ALPN = short.ALPN[:min(len(short.ALPN), 16)]
		rec.TLS = &short
		if line, err = json.Marshal(rec); err != nil {
			return err
		}
	}
	_, err = s.conn.Write(append(line, '\n'))
	return err
}

// sink reads to the end, then tells count and hash in a second record.
func (s *session) sink(in hash.Hash) {
	end := s.read(in)
	rec := s.w.records.update(s.entry, func(rec *witness.Record) { rec.End, rec.SHA256, rec.Finished = end, hexOf(in), true })
	if end == "eof" {
		if err := s.sendRecord(rec); err != nil {
			s.w.log.Debug("second record not sent", "nonce", rec.Nonce, "err", err)
		}
		s.conn.Close()
		return
	}
	s.raw.Close()
}

// read counts and hashes what comes until the client's side ends, and says how.
func (s *session) read(in hash.Hash) string {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.br.Read(buf)
		s.entry.in.Add(int64(n))
		in.Write(buf[:n])
		if err != nil {
			return endOf(err)
		}
	}
}

// echo sends back what comes. It reads no faster than the client takes the echo.
func (s *session) echo(in hash.Hash) string {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.br.Read(buf)
		s.entry.in.Add(int64(n))
		in.Write(buf[:n])
		if n > 0 {
			m, werr := s.conn.Write(buf[:n])
			s.entry.out.Add(int64(m))
			if werr != nil {
				return endOf(werr)
			}
		}
		if err != nil {
			return endOf(err)
		}
	}
}

func (s *session) sendPattern() error {
	pattern := witness.Pattern(s.order.Nonce)
	buf := make([]byte, 32<<10)
	for left := s.order.Bytes; left > 0; {
		n, err := pattern.Read(buf[:min(left, int64(len(buf)))])
		if err != nil {
			return err
		}
		m, err := s.conn.Write(buf[:n])
		s.entry.out.Add(int64(m))
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// linger reads on for a while after the witness has ended its side; "" when the client's side is still open then.
func (s *session) linger(in hash.Hash) string {
	stop := time.AfterFunc(lingerTime, func() { _ = s.raw.Close() })
	end := s.read(in)
	if !stop.Stop() {
		return ""
	}
	return end
}

// refused takes what comes behind the ClientHello of a handshake that failed, and what had come by then. "" when there is none.
func (s *session) refused() (sum string) {
	if s.entry.rec.TLS == nil || s.entry.rec.TLS.RawSHA256 == "" {
		return ""
	}
	in := sha256.New()
	s.entry.in.Add(int64(len(s.behind)))
	in.Write(s.behind)
	_ = s.raw.CloseWrite() // the alert is out
	s.linger(in)
	return hexOf(in)
}

// closeWrite ends the witness's side: close_notify over TLS, FIN without. A failure shows in what the next read says.
func (s *session) closeWrite() { _ = netx.CloseWrite(s.conn) }

// drain takes the rest of a connection that gave no order; begun is what was read of it, err how that reading ended.
func (s *session) drain(begun []byte, err error) (end, sum string) {
	in := sha256.New()
	s.entry.in.Add(int64(len(begun)))
	in.Write(begun)
	if err != nil && !isBufferFull(err) {
		return endOf(err), hexOf(in)
	}
	end = s.read(in)
	return end, hexOf(in)
}

// endOf says how the client's side ended, in the words of witness.Record.
func endOf(err error) string {
	switch {
	case errors.Is(err, errTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		return "truncated"
	case errors.Is(err, io.EOF):
		return "eof"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, net.ErrClosed):
		return "error: closed by the witness"
	}
	return fmt.Sprintf("error: %v", err)
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func isBufferFull(err error) bool { return errors.Is(err, bufio.ErrBufferFull) }
