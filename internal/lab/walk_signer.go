package lab

import (
	"crypto"
	"crypto/tls"
	"io"
	"sync/atomic"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

// noteSignatures tells, once a client has dialled, whether it has signed with the key of a certificate of its own: it has presented it
// then. That is known where nobody of ours is at the other end to say so.
func noteSignatures(d *client.Dialer) (signed func() bool) {
	var noted atomic.Bool
	list := make([]tls.Certificate, len(d.Certificates))
	for i, c := range d.Certificates {
		if key, ok := c.PrivateKey.(crypto.Signer); ok {
			c.PrivateKey = notingSigner{key, &noted}
		}
		list[i] = c
	}
	d.Certificates = list
	return noted.Load
}

type notingSigner struct {
	crypto.Signer
	noted *atomic.Bool
}

func (s notingSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.noted.Store(true)
	return s.Signer.Sign(rand, digest, opts)
}
