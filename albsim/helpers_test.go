package albsim

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"testing"
)

// unescapePEM decodes the way a careful target does: PathUnescape, since + is left raw.
func unescapePEM(t *testing.T, s string) *x509.Certificate {
	t.Helper()
	text, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM in %q", text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// say writes to a peer that may have gone: what the test expects is read at the other end.
func say(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

// rest waits for a byte or the end, and drops it.
func rest(c *client) { _, _ = c.br.ReadByte() }

// shut ends our direction of a plain or a TLS connection.
func shut(t *testing.T, c interface{ CloseWrite() error }) {
	t.Helper()
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
}

// h2Transport is an h2 client.
func h2Transport(t *testing.T) *http.Transport {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

func newWriter(w io.Writer) *bufio.Writer { return bufio.NewWriter(w) }
