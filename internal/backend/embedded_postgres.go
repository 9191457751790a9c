package backend

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

func init() { Register(Driver{Kind: Postgres, Name: Embedded, Start: startEmbeddedPostgres}) }

const (
	pgVersionText = "tlsroute-bench embedded protocol server, protocol 3.0 (not PostgreSQL)"
	// maxPGMessage bounds one message of a client, maxPGStatements the prepared statements and portals of a session each.
	maxPGMessage    = 16 << 20
	maxPGStatements = 1024
	// pgFlushRows is how many rows are gathered before they are written.
	pgFlushRows = 256
)

// embeddedPostgresLacks is for the note; a test looks for each.
var embeddedPostgresLacks = []string{
	"other statements", "tables but bench_copy", "transactions", "LISTEN and NOTIFY", "cancelling (a CancelRequest is taken and nothing comes of it)",
	"TLS of its own", "client certificates", "COPY with escapes or in binary", "bench_copy in the extended protocol", "messages above 16 MiB",
}

func startEmbeddedPostgres(_ context.Context, spec Spec, r *Running) error {
	r.Access = Access{User: userName, Password: newPassword(), Database: databaseName}
	secret, err := newScramSecret(r.Access.Password)
	if err != nil {
		return err
	}
	r.Info.Product, r.Info.Version = "tlsroute-bench protocol server", "1"
	r.Info.Note = "protocol server: PostgreSQL's messages (SCRAM-SHA-256, simple and extended queries) and no database behind them. It answers SELECT 1, " +
		"SELECT version(), SELECT $1::text, SELECT $1::int, SELECT g, md5(g::text) FROM generate_series($1::int, $2::int) AS g, and CREATE, COPY, TRUNCATE " +
		"and a checksum of a session's own bench_copy(n int, t text). It does not do: " + strings.Join(embeddedPostgresLacks, "; ")
	p := &pgServer{secret: secret}
	p.handle = p.serve
	return serve(spec, r, &p.server)
}

type pgServer struct {
	server
	secret scramSecret
	pids   atomic.Uint32
}

// pgError is an error that the client is told.
type pgError struct{ code, message string }

func (e *pgError) Error() string { return e.message + " (SQLSTATE " + e.code + ")" }

func pgErrorf(code, format string, args ...any) error {
	return &pgError{code, fmt.Sprintf(format, args...)}
}

// pgSession is one connection.
type pgSession struct {
	be         *pgproto3.Backend
	statements map[string]*pgStatement
	portals    map[string]*pgPortal
	// skipping is set by an error in the extended protocol: all is ignored until Sync.
	skipping bool
	// hasTable and rows are its temporary table.
	hasTable bool
	rows     []pgRow
}

func (p *pgServer) serve(c net.Conn) {
	s := &pgSession{be: pgproto3.NewBackend(&idleConn{c, idleTimeout}, c), statements: map[string]*pgStatement{}, portals: map[string]*pgPortal{}}
	s.be.SetMaxBodyLen(maxPGMessage)
	late := time.AfterFunc(loginTimeout, func() { c.Close() })
	err := p.login(s, c)
	late.Stop()
	if err == nil {
		err = s.run()
	}
	if told, ok := errors.AsType[*pgError](err); ok {
		s.fail("FATAL", told)
		err = s.be.Flush()
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errPGDone) {
		p.log.Debug("postgres connection ended", "remote", c.RemoteAddr(), "err", err)
	}
}

// errPGDone ends a connection that has nothing more to say.
var errPGDone = errors.New("done")

// login answers the requests that may come before the startup message, then checks name, password and database.
func (p *pgServer) login(s *pgSession, c net.Conn) error {
	var startup *pgproto3.StartupMessage
	for range 3 { // SSLRequest, GSSENCRequest, StartupMessage
		msg, err := s.be.ReceiveStartupMessage()
		if err != nil {
			return err
		}
		switch m := msg.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			if _, err := c.Write([]byte{'N'}); err != nil {
				return err
			}
			continue
		case *pgproto3.CancelRequest:
			return errPGDone
		case *pgproto3.StartupMessage:
			startup = m
		}
		break
	}
	if startup == nil {
		return pgErrorf("08P01", "no startup message")
	}
	if startup.ProtocolVersion&0xffff != 0 {
		s.be.Send(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: pgproto3.ProtocolVersion30})
	}
	user, database := startup.Parameters["user"], startup.Parameters["database"]
	ok, err := p.checkPassword(s)
	if err != nil {
		return err
	}
	if !ok || user != userName {
		return pgErrorf("28P01", "password authentication failed for user %q", user)
	}
	if database != databaseName {
		return pgErrorf("3D000", "database %q does not exist", database)
	}
	s.be.Send(&pgproto3.AuthenticationOk{})
	for _, kv := range [][2]string{
		{"server_version", "15.0 (tlsroute-bench embedded)"},
		{"server_encoding", "UTF8"},
		{"client_encoding", "UTF8"},
		{"standard_conforming_strings", "on"},
		{"integer_datetimes", "on"},
		{"DateStyle", "ISO, MDY"},
		{"TimeZone", "UTC"},
	} {
		s.be.Send(&pgproto3.ParameterStatus{Name: kv[0], Value: kv[1]})
	}
	secret := make([]byte, 4)
	rand.Read(secret)
	s.be.Send(&pgproto3.BackendKeyData{ProcessID: p.pids.Add(1), SecretKey: secret})
	return s.ready()
}

func (p *pgServer) checkPassword(s *pgSession) (bool, error) {
	s.be.Send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{scramName}})
	if err := s.authStep(pgproto3.AuthTypeSASL); err != nil {
		return false, err
	}
	msg, err := s.be.Receive()
	if err != nil {
		return false, err
	}
	initial, ok := msg.(*pgproto3.SASLInitialResponse)
	if !ok || initial.AuthMechanism != scramName {
		return false, pgErrorf("08P01", "expected a response for %s", scramName)
	}
	login := scramServer{secret: p.secret}
	challenge, err := login.first(initial.Data)
	if err != nil {
		return false, pgErrorf("08P01", "%v", err)
	}
	s.be.Send(&pgproto3.AuthenticationSASLContinue{Data: challenge})
	if err := s.authStep(pgproto3.AuthTypeSASLContinue); err != nil {
		return false, err
	}
	if msg, err = s.be.Receive(); err != nil {
		return false, err
	}
	response, ok := msg.(*pgproto3.SASLResponse)
	if !ok {
		return false, pgErrorf("08P01", "expected a SASL response")
	}
	final, ok, err := login.final(response.Data)
	if err != nil {
		return false, pgErrorf("08P01", "%v", err)
	}
	if ok {
		s.be.Send(&pgproto3.AuthenticationSASLFinal{Data: final})
	}
	return ok, nil
}

// authStep flushes and tells pgproto3 how to read the next 'p' message, whose meaning depends on the step.
func (s *pgSession) authStep(kind uint32) error {
	if err := s.be.Flush(); err != nil {
		return err
	}
	return s.be.SetAuthType(kind)
}

func (s *pgSession) ready() error {
	s.be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	return s.be.Flush()
}

func (s *pgSession) fail(severity string, err error) {
	told := &pgError{"XX000", err.Error()}
	errors.As(err, &told)
	s.be.Send(&pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: told.code, Message: told.message})
}

// run serves queries until the client ends. An error of a query is told and survived; what it returns ends the connection.
func (s *pgSession) run() error {
	for {
		msg, err := s.be.Receive()
		if err != nil {
			return err
		}
		switch m := msg.(type) {
		case *pgproto3.Terminate:
			return errPGDone
		case *pgproto3.Sync:
			s.skipping = false
			clear(s.portals) // the implicit transaction ends
			err = s.ready()
		case *pgproto3.Query:
			s.skipping = false
			err = s.simple(m.String)
		case *pgproto3.Flush:
			err = s.be.Flush()
		default:
			if s.skipping {
				continue
			}
			if err = s.extended(msg); err != nil {
				if _, ok := errors.AsType[*pgError](err); !ok {
					return err
				}
				s.fail("ERROR", err)
				s.skipping, err = true, nil
			}
		}
		if err != nil {
			return err
		}
	}
}

// simple runs the statements of a query message.
func (s *pgSession) simple(query string) error {
	statements, err := parsePG(query)
	if err == nil && len(statements) == 0 {
		s.be.Send(&pgproto3.EmptyQueryResponse{})
	}
	for _, st := range statements {
		if st.kind >= pgCreate {
			if err = s.table(st.kind); err == nil {
				continue
			}
			if _, told := errors.AsType[*pgError](err); !told {
				return err
			}
			break
		}
		if len(st.params) > 0 {
			err = pgErrorf("42P02", "there is no parameter $1")
		}
		var rows *pgPortal
		if err == nil {
			rows, err = st.bind(&pgproto3.Bind{})
		}
		if err != nil {
			break
		}
		s.be.Send(st.describe(nil))
		if err = s.send(rows, 0); err != nil {
			return err
		}
	}
	if err != nil {
		s.fail("ERROR", err)
	}
	return s.ready()
}

// send writes up to limit rows of a portal (0: all), then what ended them.
func (s *pgSession) send(p *pgPortal, limit uint32) error {
	for n := int64(0); ; n++ {
		if limit > 0 && n == int64(limit) {
			s.be.Send(&pgproto3.PortalSuspended{})
			return nil
		}
		row, ok := p.next()
		if !ok {
			s.be.Send(&pgproto3.CommandComplete{CommandTag: fmt.Appendf(nil, "SELECT %d", n)}) // of this execution
			return nil
		}
		s.be.Send(&pgproto3.DataRow{Values: row})
		if n%pgFlushRows == pgFlushRows-1 {
			if err := s.be.Flush(); err != nil {
				return err
			}
		}
	}
}

func (s *pgSession) extended(msg pgproto3.FrontendMessage) error {
	switch m := msg.(type) {
	case *pgproto3.Parse:
		return s.parse(m)
	case *pgproto3.Bind:
		st, ok := s.statements[m.PreparedStatement]
		if !ok {
			return pgErrorf("26000", "prepared statement %q does not exist", m.PreparedStatement)
		}
		if _, taken := s.portals[m.DestinationPortal]; taken && m.DestinationPortal != "" {
			return pgErrorf("42P03", "cursor %q already exists", m.DestinationPortal)
		}
		if len(s.portals) >= maxPGStatements {
			return pgErrorf("53400", "more than %d portals", maxPGStatements)
		}
		portal, err := st.bind(m)
		if err != nil {
			return err
		}
		s.portals[m.DestinationPortal] = portal
		s.be.Send(&pgproto3.BindComplete{})
	case *pgproto3.Describe:
		return s.describe(m)
	case *pgproto3.Execute:
		portal, ok := s.portals[m.Portal]
		if !ok {
			return pgErrorf("34000", "portal %q does not exist", m.Portal)
		}
		if portal.statement.kind == pgEmpty {
			s.be.Send(&pgproto3.EmptyQueryResponse{})
			return nil
		}
		return s.send(portal, m.MaxRows)
	case *pgproto3.Close:
		if m.ObjectType == 'S' {
			delete(s.statements, m.Name)
		} else {
			delete(s.portals, m.Name)
		}
		s.be.Send(&pgproto3.CloseComplete{})
	default:
		return pgErrorf("0A000", "the embedded protocol server does not take %T", msg)
	}
	return nil
}

func (s *pgSession) parse(m *pgproto3.Parse) error {
	statements, err := parsePG(m.Query)
	if err != nil {
		return err
	}
	if len(statements) > 1 {
		return pgErrorf("42601", "cannot insert multiple commands into a prepared statement")
	}
	st := &pgStatement{kind: pgEmpty}
	if len(statements) == 1 {
		st = statements[0]
	}
	if st.kind >= pgCreate {
		return pgErrorf("0A000", "the embedded protocol server takes this statement in the simple protocol only")
	}
	for i, oid := range m.ParameterOIDs {
		if i >= len(st.params) || oid != 0 && oid != st.params[i] {
			return pgErrorf("0A000", "the embedded protocol server takes no parameter type %d for $%d", oid, i+1)
		}
	}
	if _, taken := s.statements[m.Name]; taken && m.Name != "" {
		return pgErrorf("42P05", "prepared statement %q already exists", m.Name)
	}
	if len(s.statements) >= maxPGStatements {
		return pgErrorf("53400", "more than %d prepared statements", maxPGStatements)
	}
	s.statements[m.Name] = st
	s.be.Send(&pgproto3.ParseComplete{})
	return nil
}

func (s *pgSession) describe(m *pgproto3.Describe) error {
	var st *pgStatement
	var formats []int16
	if m.ObjectType == 'S' {
		var ok bool
		if st, ok = s.statements[m.Name]; !ok {
			return pgErrorf("26000", "prepared statement %q does not exist", m.Name)
		}
		s.be.Send(&pgproto3.ParameterDescription{ParameterOIDs: st.params})
	} else {
		portal, ok := s.portals[m.Name]
		if !ok {
			return pgErrorf("34000", "portal %q does not exist", m.Name)
		}
		st, formats = portal.statement, portal.formats
	}
	if st.kind == pgEmpty {
		s.be.Send(&pgproto3.NoData{})
	} else {
		s.be.Send(st.describe(formats))
	}
	return nil
}

func int4Binary(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
