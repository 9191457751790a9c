package backend

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// certRole is Access.CertUser of PostgreSQL. pg_hba knows a certificate's owner by its common name, which is that of the user with the
// password: pg_ident translates.
const certRole = userName + "_cert"

// postgresDoors writes who gets in and how (pg_hba.conf, pg_ident.conf) and the files of the server's own TLS, and returns the settings
// that name those. Passwords are for plaintext and TLS alike, a certificate for TLS alone.
func postgresDoors(acct process.Account, dir string, spec Spec, r *Running) (settings []string, err error) {
	write := func(name string, data []byte) error {
		if err := acct.WriteFile(filepath.Join(dir, name), data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}
	doors := []string{"local all all reject"}
	if len(spec.Certificate.Certificate) > 0 {
		cert, key, err := certs.WritePEM(dir, "server", spec.Certificate)
		if err != nil {
			return nil, err
		}
		for _, file := range []string{cert, key} {
			if err := acct.Own(file); err != nil {
				return nil, err
			}
		}
		settings = append(settings, "ssl=on", "ssl_cert_file="+cert, "ssl_key_file="+key)
		if len(spec.CA) > 0 {
			if err := write("ca.pem", spec.CA); err != nil {
				return nil, err
			}
			r.Access.CA = filepath.Join(dir, "ca.pem")
		}
		if len(spec.ClientCA) > 0 {
			if err := write("client-ca.pem", spec.ClientCA); err != nil {
				return nil, err
			}
			settings = append(settings, "ssl_ca_file="+filepath.Join(dir, "client-ca.pem"))
			// The first line that fits decides: behind it nothing else lets this role in.
			doors = append(doors, "hostssl all "+certRole+" all cert map=client", "host all "+certRole+" all reject")
			r.Access.CertUser = certRole
		}
	}
	doors = append(doors, "host all all 127.0.0.1/32 scram-sha-256", "")
	if err := write("data/pg_hba.conf", []byte(strings.Join(doors, "\n"))); err != nil {
		return nil, err
	}
	return settings, write("data/pg_ident.conf", []byte("client "+userName+" "+certRole+"\n"))
}
