package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/go-sql-driver/mysql"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// AskMySQL logs in, runs one statement and returns the first value of its first row, if any. It is the probe of every driver: ready is who
// answers it, with whatever password plugin the server likes best. Where a.CA is set it asks over TLS, and the server's certificate must be of
// that authority. ctx bounds it all.
func AskMySQL(ctx context.Context, address string, a Access, statement string) (_ string, err error) {
	config, err := mysqlConfig(address, a)
	if err != nil {
		return "", err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var value sql.NullString
	if rows.Next() {
		columns, err := rows.Columns()
		if err != nil {
			return "", err
		}
		into := make([]any, len(columns))
		for i := range into {
			into[i] = new(sql.RawBytes)
		}
		into[0] = &value
		if err := rows.Scan(into...); err != nil {
			return "", err
		}
	}
	return value.String, rows.Err()
}

// mysqlConfig is how a client with that access gets in at an address.
func mysqlConfig(address string, a Access) (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", address, a.User, a.Password, a.Database
	c.Timeout, c.ReadTimeout, c.WriteTimeout = process.ReadyTimeout, process.ReadyTimeout, process.ReadyTimeout
	c.Logger = &mysql.NopLogger{} // a server that is not up yet is no news
	if a.CA == "" {
		return c, nil
	}
	authority, err := os.ReadFile(a.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", a.CA)
	}
	c.TLS = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // verified below: by its authority, whatever the names in it, which are those of routes
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			between := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			return err
		},
	}
	return c, nil
}
