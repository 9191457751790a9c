package backend

import "context"

// The questions that tell whether a server answers, for drivers of other packages. Each dials, logs in and asks once.

// AskPostgres runs one statement and returns the first value of its first row.
func AskPostgres(ctx context.Context, address, user, password, database, sql string) (string, error) {
	return askPostgres(ctx, address, user, password, database, sql)
}

// ProbeSSH runs true, and returns the server's banner.
func ProbeSSH(ctx context.Context, address string, a Access) (banner string, err error) {
	return probeSSH(ctx, address, a)
}
