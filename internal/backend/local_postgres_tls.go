package backend

import (
	"fmt"
	"path/filepath"

	"github.com/tlsroute/tlsroute-bench/internal/certs"
	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// PostgresCertUser is Access.CertUser of PostgreSQL. pg_hba knows a certificate's owner by its common name, which is that of the user with
// the password: pg_ident translates.
const PostgresCertUser = userName + "_cert"

// PostgresDoors are pg_hba.conf and pg_ident.conf: passwords are for plaintext and TLS alike, a certificate for TLS alone, and for a server
// that knows an authority of clients. What comes by a socket of the server's own machine, local says.
func PostgresDoors(local string, certificates bool) (hba, ident string) {
	hba = "local all all " + local + "\n"
	if certificates { // the first line that fits decides: behind it nothing else lets this role in
		hba += "hostssl all " + PostgresCertUser + " all cert map=client\nhost all " + PostgresCertUser + " all reject\n"
	}
	return hba + "host all all all scram-sha-256\n", "client " + userName + " " + PostgresCertUser + "\n"
}

// writePostgresDoors writes these and the files of the server's own TLS, and returns the settings that name those.
func writePostgresDoors(acct process.Account, dir string, spec Spec, r *Running) (settings []string, err error) {
	write := func(name string, data []byte) error {
		if err := acct.WriteFile(filepath.Join(dir, name), data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}
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
			r.Access.CertUser = PostgresCertUser
		}
	}
	hba, ident := PostgresDoors("reject", r.Access.CertUser != "")
	if err := write("data/pg_hba.conf", []byte(hba)); err != nil {
		return nil, err
	}
	return settings, write("data/pg_ident.conf", []byte(ident))
}
