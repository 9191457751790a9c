// Package backend starts the services behind the router: the witness, PostgreSQL, MySQL, SSH, HTTP and what stands for Kubernetes.
//
// A backend is of a kind (witness, postgres, mysql, ssh, http, kube) and runs by a driver:
//
//   - embedded: a protocol server inside this process. It speaks the real protocol to the real client drivers, but
//     behind it is a fixed handful of answers; [result.Backend.Note] lists what it does not do;
//   - local: the real server program of this machine, in a private directory, on a free port of 127.0.0.1, as an
//     unprivileged user where the caller is root. Product and version are what the server itself says;
//   - container: the same as a container (internal/backend/container); of the witness, http and kube the embedded server ([Own]).
//
// Each kind × driver is one file that registers itself; a duplicate panics at start. The witness, http and kube have no
// local driver, and asking for one gives the embedded one. [Start] returns when a login and a query (or command) have succeeded, and
// every backend of a kind answers the same requests in the same way, whatever the driver:
//
//   - postgres: SELECT 1; SELECT version(); SELECT $1::text; SELECT $1::int; SELECT g, md5(g::text) FROM
//     generate_series($1::int, $2::int) AS g — simple and extended protocol, text and binary; and, simple only, COPY in and out of
//     a temporary table bench_copy(n int, t text), TRUNCATE, and count(*)::int with md5(string_agg(t, ” ORDER BY n)) of it;
//   - mysql: SELECT 1; SELECT VERSION(); WITH RECURSIVE s(n) AS (SELECT ? UNION ALL SELECT n+1 FROM s WHERE n < ?) SELECT n,
//     MD5(n) FROM s, interpolated by the client or, with CAST(? AS SIGNED), prepared, for up to 1000 rows: there MariaDB cuts a recursion short with a mere
//     warning, MySQL and the embedded server with an error;
//   - ssh: cat, sha256sum, true, echo WORDS by exec, with public key authentication;
//   - http: every request is answered with what arrived of it, as a [Seen] in JSON, but for GET /ws (a WebSocket that echoes), GET
//     /events?n=N&every=DURATION (server-sent events; with pace=NAME each waits for a POST /events?pace=NAME), GET /bytes/N?seed=S (the first
//     N of [SeededBytes], with their Repr-Digest as a trailer) and POST or PUT /sum (a body of any size, answered with its [HTTPSum]);
//   - kube: HTTPS for who has a certificate of Spec.ClientCA, 401 as a Status for others: /version, /api, /apis, pods of /api/v1 (get, list,
//     watch, create, delete, log with follow, and exec of what ssh runs, over WebSocket and SPDY/3.1); default/web-0 and web-1 are there;
//   - witness: the protocol of internal/witness, plain or over TLS, with or without a PROXY header.
//
// Programs are looked for in PATH and where Debian puts them; with TLSROUTE_BACKEND_PATH set, in its folders only. A
// missing one is a [*MissingError] that names the Debian package. Times are time.Duration, sizes bytes.
package backend

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// The kinds and drivers of this package.
const (
	Witness  = "witness"
	Postgres = "postgres"
	MySQL    = "mysql"
	SSH      = "ssh"
	HTTP     = "http"
	Kube     = "kube"

	Embedded  = "embedded"
	Local     = "local"
	Container = "container" // registered by internal/backend/container
)

// closeTimeout bounds the cleaning up after a start that failed or was cancelled.
const closeTimeout = 10 * time.Second

// Spec says what to start.
type Spec struct {
	// Name is the backend's name in the scenario; the witness reports it in each record.
	Name string
	// Kind is one of Kinds().
	Kind string
	// Dir is the folder in which a backend makes its private directory; os.TempDir() when empty. A local backend of root
	// runs as another user, so it adds the search permission to Dir, and goes to os.TempDir() when a folder above Dir
	// bars that user.
	Dir string
	// Logger gets a line for start, end and what is odd; nil discards.
	Logger *slog.Logger
	// Certificate is what a server with TLS of its own shows; without one the witness makes its own, and a real server speaks plaintext only.
	Certificate tls.Certificate
	// CA is the PEM of the authority behind Certificate, ClientCA that of the one whose client certificates are let in; empty for none.
	CA, ClientCA []byte
	// Version asks for one of several servers of this machine, such as 17 (local), and Image for an image (container); empty for the
	// driver's own choice.
	Version, Image string
	// Program is a tlsroute-bench, which is what runs in the container of a kind of our own; this very program when empty.
	Program string
	// Durable has a real database keep what it confirmed, whatever becomes of its process or its machine. Without it commits are not flushed,
	// which a crash may then undo: nothing of a run outlives the run.
	Durable bool
	// KeyLog receives the TLS secrets of a witness's connections in NSS form, for a capture; nil for none.
	KeyLog io.Writer
	// Listen is where an embedded backend listens; a free port of 127.0.0.1 when empty.
	Listen string
	// Config are lines of the real server's own configuration that go before ours; for drivers that say [Driver.Config].
	Config []string
	// WrapListener, when set, wraps the listener of an embedded backend.
	WrapListener func(net.Listener) net.Listener
}

// Access is how a client gets in.
type Access struct {
	User, Password, Database string
	// CA is a file with the authority that verifies the TLS of the server's own; empty when it takes none.
	CA string
	// CertUser gets in without a password, by a certificate of Spec.ClientCA for the common name "tlsroute", and over the server's own TLS
	// only; empty where that cannot be. The others need no certificate.
	CertUser string
	// HostKey is the SSH server's, ClientKey the key that it lets in, IdentityFile the same in OpenSSH's format, mode 0600.
	HostKey      ssh.PublicKey
	ClientKey    ssh.Signer
	IdentityFile string
	// HostCA is the authority that certified HostKey: what a client has behind @cert-authority in its known_hosts.
	HostCA ssh.PublicKey
	// Folder is where sftp and scp begin: what a client puts there goes with the backend. Empty for a server without files.
	Folder string
}

// Running is a backend that answers.
type Running struct {
	Info result.Backend
	// Address is host:port on 127.0.0.1.
	Address string
	Access  Access
	// Witness is the log of a witness, nil for other kinds.
	Witness WitnessLog
	// Ready is how long it took from the start to the first checked answer.
	Ready time.Duration
	// Log returns the end of what the server wrote to its log so far; nil where it has none of its own.
	Log func(context.Context) ([]byte, error)
	// Faults has it fail on purpose; nil for one that cannot, such as what is embedded in this process.
	Faults Faults

	once    sync.Once
	closers []func(context.Context) error
	err     error
}

// OnClose adds something to undo; the last added is undone first. It is for drivers, while they start.
func (r *Running) OnClose(f func(context.Context) error) { r.closers = append(r.closers, f) }

// Close ends the backend: connections, processes, goroutines, the private directory. ctx bounds how long a server may take
// to stop politely; when it is over the server is killed, and the directory is removed all the same. Further calls return
// what the first returned.
func (r *Running) Close(ctx context.Context) error {
	r.once.Do(func() {
		var errs []error
		for _, f := range slices.Backward(r.closers) {
			errs = append(errs, f(ctx))
		}
		if err := errors.Join(errs...); err != nil {
			r.err = fmt.Errorf("stop backend %s: %w", r.Info.Name, err)
		}
	})
	return r.err
}

// Driver is one kind × driver. Start adds what it made to r, with the way to undo it, before anything can fail after it.
type Driver struct {
	Kind, Name string
	Start      func(ctx context.Context, spec Spec, r *Running) error
	// Available is nil or says what is missing for spec; nil func: nothing ever is.
	Available func(ctx context.Context, spec Spec) error
	// Config says that it takes Spec.Config.
	Config bool
}

// drivers is filled by init functions only.
var drivers []Driver

// Register adds a driver; it is for init functions, and panics for one that is there already.
func Register(d Driver) {
	if _, ok := find(d.Kind, d.Name); ok {
		panic("backend: driver " + d.Name + " of " + d.Kind + " registered twice")
	}
	drivers = append(drivers, d)
}

func find(kind, name string) (Driver, bool) {
	i := slices.IndexFunc(drivers, func(d Driver) bool { return d.Kind == kind && d.Name == name })
	if i < 0 {
		return Driver{}, false
	}
	return drivers[i], true
}

// Kinds lists the kinds, sorted.
func Kinds() []string {
	var kinds []string
	for _, d := range drivers {
		kinds = append(kinds, d.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// Drivers lists the drivers of a kind, sorted; none for a kind that does not exist.
func Drivers(kind string) []string {
	var names []string
	for _, d := range drivers {
		if d.Kind == kind {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return names
}

// choose finds a driver. Of a kind that has no local driver the embedded one is the real thing: it is taken for Local, and for Container
// where there is none of that either.
func choose(kind, name string) (Driver, error) {
	names := Drivers(kind)
	if len(names) == 0 {
		return Driver{}, fmt.Errorf("no backend kind %q: there are %s", kind, strings.Join(Kinds(), ", "))
	}
	if (name == Local || name == Container) && !slices.Contains(names, name) && !slices.Contains(names, Local) {
		name = Embedded
	}
	d, ok := find(kind, name)
	if !ok {
		return Driver{}, fmt.Errorf("no driver %q for %s: there are %s", name, kind, strings.Join(names, ", "))
	}
	return d, nil
}

// Takes is the driver that a kind takes when one is asked for: our own kinds have one for all.
func Takes(kind, driver string) string {
	if d, err := choose(kind, driver); err == nil {
		return d.Name
	}
	return driver
}

// Available returns nil when the driver can start what spec asks for, else an error that says what to do.
func Available(ctx context.Context, driver string, spec Spec) error {
	d, err := choose(spec.Kind, driver)
	if err == nil {
		err = d.takes(spec)
	}
	if err != nil || d.Available == nil {
		return err
	}
	return d.Available(ctx, spec)
}

// StartError is why a backend did not start, with the end of the server's log where it came to have one.
type StartError struct {
	Name string
	Log  []byte
	Err  error
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// takes tells whether the driver can do what spec asks for beyond a plain start.
func (d Driver) takes(spec Spec) error {
	if len(spec.Config) > 0 && !d.Config {
		return fmt.Errorf("backend %s: driver %s of %s has no configuration to add %q to: leave config out, or use --backends local", spec.Name, d.Name, spec.Kind, spec.Config)
	}
	return nil
}

// Start brings up one backend and returns when it answers. ctx bounds the start only; the backend lives until Close. On an
// error, a [*StartError] where there was a driver, nothing is left behind.
func Start(ctx context.Context, driver string, spec Spec) (*Running, error) {
	d, err := choose(spec.Kind, driver)
	if err == nil {
		err = d.takes(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("start backend %s: %w", spec.Name, err)
	}
	if spec.Logger == nil {
		spec.Logger = slog.New(slog.DiscardHandler)
	}
	spec.Logger = spec.Logger.With("backend", spec.Name, "driver", d.Name)
	begin := time.Now()
	r := &Running{Info: result.Backend{Name: spec.Name, Kind: spec.Kind, Driver: d.Name}}
	if err := d.Start(ctx, spec, r); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		failed := &StartError{Name: spec.Name, Err: fmt.Errorf("start backend %s (%s, %s): %w", spec.Name, spec.Kind, d.Name, err)}
		if r.Log != nil { // before the directory, or the container, goes away with it
			failed.Log, _ = r.Log(undo)
		}
		return nil, errors.Join(failed, r.Close(undo))
	}
	r.Ready = time.Since(begin)
	r.Info.ReadyMS = float64(r.Ready.Microseconds()) / 1000
	spec.Logger.Debug("backend ready", "address", r.Address, "product", r.Info.Product, "version", r.Info.Version, "took", r.Ready)
	return r, nil
}

// account names of every backend that has users of its own.
const (
	userName     = "tlsroute"
	databaseName = "tlsroute"
)

// newPassword needs no quoting in SQL, shells or URLs.
func newPassword() string { return rand.Text() }
