package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tlsroute/tlsroute-bench/internal/process"
)

// askPostgres logs in, runs one statement, and returns the first value of its first row, if any. It is the probe: ready is
// who answers it. ctx bounds it all.
func askPostgres(ctx context.Context, address, user, password, database, sql string) (string, error) {
	conn, stop, err := dialProbe(ctx, address)
	if err != nil {
		return "", err
	}
	defer stop()
	fe := pgproto3.NewFrontend(conn, conn)
	fe.SetMaxBodyLen(1 << 20)
	fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": database}})
	login := scramClient{password: password}
	value, asked := "", false
	for {
		if err := fe.Flush(); err != nil {
			return "", err
		}
		msg, err := fe.Receive()
		if err != nil {
			return "", err
		}
		switch m := msg.(type) {
		case *pgproto3.AuthenticationSASL:
			fe.Send(&pgproto3.SASLInitialResponse{AuthMechanism: scramName, Data: login.first()})
		case *pgproto3.AuthenticationSASLContinue:
			final, err := login.final(m.Data)
			if err != nil {
				return "", err
			}
			fe.Send(&pgproto3.SASLResponse{Data: final})
		case *pgproto3.AuthenticationSASLFinal:
			if err := login.check(m.Data); err != nil {
				return "", err
			}
		case *pgproto3.AuthenticationOk:
			if login.want == nil {
				return "", errors.New("the server asked for no password")
			}
		case *pgproto3.AuthenticationCleartextPassword, *pgproto3.AuthenticationMD5Password:
			return "", fmt.Errorf("the server wants %T, not SCRAM", msg)
		case *pgproto3.DataRow:
			if value == "" && len(m.Values) > 0 {
				value = string(m.Values[0])
			}
		case *pgproto3.ErrorResponse:
			return "", fmt.Errorf("%s %s: %s", m.Severity, m.Code, m.Message)
		case *pgproto3.ReadyForQuery:
			if asked {
				fe.Send(&pgproto3.Terminate{})
				return value, fe.Flush()
			}
			asked = true
			fe.Send(&pgproto3.Query{String: sql})
		}
	}
}

// dialProbe connects and carries ctx over to the connection: its deadline, and its cancellation by closing. stop closes.
func dialProbe(ctx context.Context, address string) (net.Conn, func(), error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(process.ReadyTimeout)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, nil, err
	}
	unwatch := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { unwatch(); conn.Close() }, nil
}
