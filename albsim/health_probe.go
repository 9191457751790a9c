package albsim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
)

// healthAgent names the load balancer to the targets that it checks (ALB-HC-01).
const healthAgent = "ELB-HealthChecker/2.0"

var errBadCheck = errors.New("no answer to a health check")

// probe makes one check and returns AWS's reason code, "" for a healthy target. ctx bounds it. The connection is closed.
func (h *healthCheck) probe(ctx context.Context, s *Server, address string) (reason string) {
	code, err := h.code(ctx, s, address)
	switch {
	case err == nil && slices.ContainsFunc(h.codes, func(r codeRange) bool { return r.low <= code && code <= r.high }):
		return ""
	case err == nil:
		return reasonMismatch
	case ctx.Err() != nil || timedOut(err):
		return reasonTimeout
	}
	s.log.Debug("health check failed", "target", address, "err", err)
	return reasonFailed
}

func (h *healthCheck) code(ctx context.Context, s *Server, address string) (int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	if h.port != "" {
		port = h.port
	}
	conn, err := s.rawDial(ctx, net.Dialer{}, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return 0, err
	}
	defer func() { closeSoon(conn) }()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if len(h.preface) > 0 {
		if _, err := conn.Write(h.preface); err != nil {
			return 0, err
		}
	}
	standard := "80"
	if h.secure {
		standard = "443"
		alpn := s.plan.profile.BackendALPN
		if h.multiplexed {
			alpn = []string{"h2"}
		}
		cfg := s.targetConfig(conn, s.plan.profile.targetName(host, address), policies[defaultPolicy], alpn)
		secured := tls.Client(conn, cfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		conn = secured
	}
	if h.host != nil {
		host = h.host(conn.LocalAddr())
	} else if port != standard {
		host = net.JoinHostPort(host, port)
	}
	return h.ask(ctx, h, conn, host, s.plan.profile.MaxResponseHeaders)
}

// askHTTP1 sends what a target behind an ALB has been seen to get, byte for byte, and reads the status and, so that the target
// sees no reset, what body comes with it.
func askHTTP1(_ context.Context, h *healthCheck, conn net.Conn, host string, limit int) (int, error) {
	if _, err := io.WriteString(conn, "GET "+h.path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nUser-Agent: "+healthAgent+
		"\r\nAccept-Encoding: gzip, compressed\r\n\r\n"); err != nil {
		return 0, err
	}
	br := bufio.NewReaderSize(conn, 4<<10)
	var r response
	for range 8 { // interim responses may come first
		if err := r.read(br, http.MethodGet, limit); err != nil {
			return 0, err
		}
		if r.status >= 200 || r.status == 101 { // a check knows no protocol switch: 101 is a code like any other
			if body := bodyReader(br, r.length); body != nil {
				discard(body, drainLimit)
			}
			return r.status, nil
		}
	}
	return 0, errBadCheck
}

func askHTTP2(ctx context.Context, h *healthCheck, conn net.Conn, host string, limit int) (int, error) {
	status, _, err := h.roundTrip(ctx, conn, host, limit, http.MethodGet, http.Header{})
	return status, err
}

// askGRPC calls the method that the path names with an empty message. The code is gRPC's; an answer that is no gRPC has none.
func askGRPC(ctx context.Context, h *healthCheck, conn net.Conn, host string, limit int) (int, error) {
	status, text, err := h.roundTrip(ctx, conn, host, limit, http.MethodPost, http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"},
	})
	if err != nil {
		return 0, err
	}
	code, err := strconv.Atoi(text)
	if err != nil || status != http.StatusOK {
		return -1, nil //nolint:nilerr // an answer, and none that fits: a mismatch
	}
	return code, nil
}

// emptyMessage is gRPC's frame of a message of no bytes.
var emptyMessage = []byte{0, 0, 0, 0, 0}

// roundTrip sends one request over h2, with prior knowledge where there is no TLS, and reads the answer to its end. grpc is its
// grpc-status, from the trailers or, where there is nothing else, from the head.
func (h *healthCheck) roundTrip(ctx context.Context, conn net.Conn, host string, limit int, method string, header http.Header,
) (status int, grpc string, err error) {
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableCompression: true, MaxResponseHeaderBytes: int64(limit),
		Protocols: new(http.Protocols),
	}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if h.secure {
		scheme = "https"
		if c, ok := conn.(*tls.Conn); !ok || c.ConnectionState().NegotiatedProtocol != "h2" {
			return 0, "", errBadCheck
		}
	}
	transport.Protocols.SetHTTP2(h.secure)
	transport.Protocols.SetUnencryptedHTTP2(!h.secure)
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader(emptyMessage)
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+host+h.path, body)
	if err != nil {
		return 0, "", err
	}
	header.Set("User-Agent", healthAgent)
	req.Header = header
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, drainLimit); err != nil && !errors.Is(err, io.EOF) {
		return 0, "", err
	}
	if grpc = resp.Trailer.Get("Grpc-Status"); grpc == "" {
		grpc = resp.Header.Get("Grpc-Status")
	}
	return resp.StatusCode, grpc, nil
}
