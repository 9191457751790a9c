package lab

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tlsroute/tlsroute-bench/refimpl/client"
)

const underTLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

// postgresLogin is a login by SCRAM, plain inside the tunnel and by the local port with and without TLS, and one with a wrong password.
func postgresLogin(t *testing.T, l postgresLab, path string) {
	if conn := l.session(t, path, "one"); ask1[bool](t, conn, underTLS) {
		t.Error("the server sees TLS: it is the router's to end")
	}
	if conn := l.session(t, path, "bridged"); !ask1[bool](t, conn, underTLS) {
		t.Error("the server sees no TLS: the router was to ask for it")
	}
	config := l.config(t, "one", "sslmode=disable")
	config.Password += "x"
	if _, err := l.connect(t, l.dialer(t, path, "one", nil), config); refusal(err) != "28P01" {
		t.Errorf("wrong password: %v", err)
	}
	p := startProxy(t, l.dialer(t, path, "one", nil))
	for _, mode := range []string{"disable", "require"} {
		conn, err := p.through(t, l.config(t, "one", "sslmode="+mode))
		if err != nil {
			t.Fatalf("local port, sslmode=%s: %v", mode, err)
		}
		if _, secure := conn.PgConn().Conn().(*tls.Conn); secure != (mode == "require") {
			t.Errorf("sslmode=%s: TLS on the local port: %v", mode, secure)
		}
		if got := ask1[int](t, conn, "SELECT 1"); got != 1 {
			t.Errorf("SELECT 1 is %d", got)
		}
	}
}

// postgresRouterCertificate has the router ask for a client certificate. Without one the refusal is said, also in the words of the protocol.
func postgresRouterCertificate(t *testing.T, l postgresLab, path string) {
	if conn := l.session(t, path, "mtls"); ask1[int](t, conn, "SELECT 1") != 1 {
		t.Error("SELECT 1 is another")
	}
	bare := l.dialer(t, path, "mtls", func(d *client.Dialer) { d.Certificates = nil })
	_, err := l.connect(t, bare, l.config(t, "mtls", "sslmode=disable"))
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	_, err = startProxy(t, bare).through(t, l.config(t, "mtls", "sslmode=disable"))
	if refusal(err) != "08006" || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("by the local port, without a certificate: %v", err)
	}
}

// postgresOwnTLS is a session whose TLS ends in the server: its certificate is the one that was verified, and it verifies the client's.
func postgresOwnTLS(t *testing.T, l postgresLab, path string) {
	conn := l.session(t, path, "own-tls")
	if !ask1[bool](t, conn, underTLS) {
		t.Error("by password: the server sees no TLS")
	}
	withCertificate := l.dialer(t, path, "own-tls", func(d *client.Dialer) { d.Certificates = []tls.Certificate{l.pki.client} })
	p := startProxy(t, withCertificate)
	byCertificate := func(settings string) *pgx.ConnConfig {
		config := l.config(t, "own-tls", settings+" require_auth=none") // the last word counts
		config.User, config.Password = l.backend("one").Access.CertUser, ""
		return config
	}
	for name, connect := range map[string]func() (*pgx.Conn, error){
		"certificate": func() (*pgx.Conn, error) { return l.connect(t, withCertificate, byCertificate("sslmode=disable")) },
		"certificate, local port": func() (*pgx.Conn, error) {
			return p.through(t, byCertificate("sslmode=require channel_binding=disable"))
		},
		"password, local port": func() (*pgx.Conn, error) {
			return p.through(t, l.config(t, "own-tls", "sslmode=require channel_binding=disable"))
		},
	} {
		conn, err := connect()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if dn := ask1[string](t, conn, "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); dn != "/CN=tlsroute" {
			t.Errorf("%s: the server saw the certificate of %q", name, dn)
		}
	}
	bare := l.dialer(t, path, "own-tls", nil)
	if _, err := l.connect(t, bare, byCertificate("sslmode=disable")); refusal(err) != "28000" {
		t.Errorf("the certificate's role without it: %v", err)
	}
	// A login bound to TLS that ends on the way is what the binding is there to refuse.
	_, err := p.through(t, l.config(t, "own-tls", "sslmode=require channel_binding=require"))
	if err == nil || !strings.Contains(err.Error(), "channel binding") {
		t.Errorf("a login bound to the local port's TLS: %v", err)
	}
}

// postgresAtOnce begins with a ClientHello, as libpq does with sslnegotiation=direct: servers take that since version 17.
func postgresAtOnce(t *testing.T, l postgresLab, path string) {
	d := l.dialer(t, path, "at-once", nil)
	conn, err := l.connect(t, d, l.config(t, "at-once", "sslmode=disable"))
	if l.major(t, "one") >= 17 {
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.PgConn().Conn().(*client.Conn).Info().Negotiated; got != "postgresql" || !ask1[bool](t, conn, underTLS) {
			t.Errorf("ALPN %q", got)
		}
		return
	}
	// The server has met a startup message of an absurd length, and says nothing: that it closed is all there is to say.
	if err == nil || !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "closed after the ClientHello, without an answer") {
		t.Errorf("to a server before version 17: %v", err)
	}
}

func postgresPrepared(t *testing.T, l postgresLab, path string) {
	conn, ctx := l.session(t, path, "one"), t.Context()
	if _, err := conn.Prepare(ctx, "sum", "SELECT $1::int + $2::int"); err != nil {
		t.Fatal(err)
	}
	var batch pgx.Batch // one round trip
	for n := range 100 {
		batch.Queue("sum", n, 2*n).QueryRow(func(row pgx.Row) error {
			var got int
			if err := row.Scan(&got); err != nil || got != 3*n {
				return fmt.Errorf("%d + %d is %d, %w", n, 2*n, got, err)
			}
			return nil
		})
	}
	if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
		t.Error(err)
	}
	// What one session has prepared, no other has.
	const known = "SELECT count(*)::int FROM pg_prepared_statements WHERE name = 'sum'"
	if got := ask1[int](t, conn, known); got != 1 {
		t.Errorf("%d statements are called sum", got)
	}
	if got := ask1[int](t, l.session(t, path, "one"), known); got != 0 {
		t.Error("another session has it too")
	}
	if err := conn.Deallocate(ctx, "sum"); err != nil {
		t.Error(err)
	}
	if got := ask1[int](t, conn, known); got != 0 {
		t.Error("it is still there")
	}
}

// postgresCopy sends a mebibyte by COPY and takes it back; the server's own checksum says that it had it.
func postgresCopy(t *testing.T, l postgresLab, path string) {
	conn, ctx := l.session(t, path, "one"), t.Context()
	if _, err := conn.Exec(ctx, "CREATE TEMPORARY TABLE copied (n int, t text)"); err != nil {
		t.Fatal(err)
	}
	var rows bytes.Buffer
	sum, count, value := md5.New(), 0, make([]byte, 128)
	for ; rows.Len() < 1<<20; count++ {
		rand.Read(value)
		text := hex.EncodeToString(value)
		fmt.Fprintf(&rows, "%d\t%s\n", count, text)
		fmt.Fprint(sum, text)
	}
	want := fmt.Sprintf("COPY %d", count)
	tag, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(rows.Bytes()), "COPY copied FROM STDIN")
	if err != nil || tag.String() != want {
		t.Fatalf("%s, %v; want %s", tag, err, want)
	}
	if got := ask1[string](t, conn, "SELECT md5(string_agg(t, '' ORDER BY n)) FROM copied"); got != hex.EncodeToString(sum.Sum(nil)) {
		t.Error("the server has other rows than were sent")
	}
	var back bytes.Buffer
	tag, err = conn.PgConn().CopyTo(ctx, &back, "COPY (SELECT n, t FROM copied ORDER BY n) TO STDOUT")
	if err != nil || tag.String() != want || !bytes.Equal(back.Bytes(), rows.Bytes()) {
		t.Errorf("%s, %v: %d bytes came back of %d", tag, err, back.Len(), rows.Len())
	}
	// One that the client breaks off leaves nothing, and the session goes on.
	broken := &failing{bytes.NewReader(rows.Bytes()[:rows.Len()/2])}
	if _, err := conn.PgConn().CopyFrom(ctx, broken, "COPY copied FROM STDIN"); err == nil {
		t.Error("half a COPY was taken for a whole one")
	}
	if got := ask1[int](t, conn, "SELECT count(*)::int FROM copied"); got != count {
		t.Errorf("%d rows, want the %d of before", got, count)
	}
}

// failing ends with an error.
type failing struct{ *bytes.Reader }

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil {
		err = fmt.Errorf("the rows end here: %w", context.Canceled)
	}
	return n, err
}

// postgresNotify has one session wait for what another says: bytes that the server sends unasked.
func postgresNotify(t *testing.T, l postgresLab, path string) {
	listener, speaker := l.session(t, path, "one"), l.session(t, path, "one")
	channel := "over_" + strings.ReplaceAll(path, "-", "_")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := listener.Exec(ctx, "LISTEN "+channel); err != nil {
		t.Fatal(err)
	}
	type heard struct {
		*pgconn.Notification
		error
	}
	waiting := make(chan heard, 1)
	go func() {
		n, err := listener.WaitForNotification(ctx)
		waiting <- heard{n, err}
	}()
	said := strings.Repeat("é", 3900) // a notification has less than 8000 bytes
	if _, err := speaker.Exec(ctx, "SELECT pg_notify($1, $2)", channel, said); err != nil {
		t.Error(err)
		cancel()
	}
	h := <-waiting
	if h.error != nil {
		t.Fatal(h.error)
	}
	if h.Channel != channel || h.Payload != said || h.PID != speaker.PgConn().PID() {
		t.Errorf("heard %d bytes on %s from %d", len(h.Payload), h.Channel, h.PID)
	}
}

// postgresLargeValue sends one value of 16 MiB and takes it back.
func postgresLargeValue(t *testing.T, l postgresLab, path string) {
	conn := l.session(t, path, "one")
	value := make([]byte, 16<<20)
	rand.Read(value)
	var sum string
	var back []byte
	if err := conn.QueryRow(t.Context(), "SELECT md5($1::bytea), $1::bytea", value).Scan(&sum, &back); err != nil {
		t.Fatal(err)
	}
	if want := md5.Sum(value); sum != hex.EncodeToString(want[:]) || !bytes.Equal(back, value) {
		t.Errorf("%d bytes came back, and the server counts the sum %s", len(back), sum)
	}
}
