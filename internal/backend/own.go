package backend

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/internal/witness"
)

// Own is an embedded backend in a process of its own: what runs in the container of a kind of ours. Beside its port it has an admin port, at
// which it says what it is and, of a witness, what it has seen.
type Own struct {
	Kind, Name string
	// Listen and Admin are host:port.
	Listen, Admin string
	// Cert, Key and ClientCA are PEM files as Spec.Certificate and Spec.ClientCA; empty for none.
	Cert, Key, ClientCA string
	// Logger is as Spec.Logger.
	Logger *slog.Logger
}

// Serve returns when ctx ends, or with what keeps it from serving.
func (o Own) Serve(ctx context.Context) (err error) {
	spec := Spec{Name: o.Name, Kind: o.Kind, Listen: o.Listen, Logger: o.Logger}
	if spec.Logger == nil {
		spec.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Cert != "" {
		if spec.Certificate, err = tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
			return err
		}
	}
	if o.ClientCA != "" {
		if spec.ClientCA, err = os.ReadFile(o.ClientCA); err != nil {
			return err
		}
	}
	r, err := Start(ctx, Embedded, spec)
	if err != nil {
		return err
	}
	admin := &Running{}
	if err = serveHTTP(Spec{Listen: o.Admin, Logger: spec.Logger}, admin, ownAdmin(r), nil); err == nil {
		<-ctx.Done()
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, admin.Close(closing), r.Close(closing))
}

func ownAdmin(r *Running) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // who has left gets no answer
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, r.Info) })
	if r.Witness == nil {
		return mux
	}
	mux.HandleFunc("GET /accepted", func(w http.ResponseWriter, _ *http.Request) { answer(w, r.Witness.Accepted()) })
	mux.HandleFunc("GET /records", func(w http.ResponseWriter, req *http.Request) { answer(w, r.Witness.Find(req.FormValue("nonce"))) })
	mux.HandleFunc("GET /record", func(w http.ResponseWriter, req *http.Request) {
		rec, err := r.Witness.Wait(req.Context(), req.FormValue("nonce"), req.FormValue("finished") == "true")
		if err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		answer(w, rec)
	})
	return mux
}

const (
	// ownTimeout bounds a question that no context does, maxOwnAnswer an answer in bytes: a whole log of records of a kibibyte and more.
	ownTimeout   = 10 * time.Second
	maxOwnAnswer = 64 << 20
)

// OwnPort is an Own's admin port from outside. Of a witness it is the log: what is asked for is asked there and then.
type OwnPort struct {
	address string
	log     *slog.Logger

	mu     sync.Mutex
	unread int64 // counts that could not be had
}

// NewOwnPort asks at address, which is host:port. logger is told of answers that the methods of WitnessLog cannot return as an error.
func NewOwnPort(address string, logger *slog.Logger) *OwnPort {
	return &OwnPort{address: address, log: logger}
}

// Probe returns what the backend says of itself, once it answers at its own address as those of its kind do.
func (p *OwnPort) Probe(ctx context.Context, address string) (info result.Backend, err error) {
	if err := p.get(ctx, "/", nil, &info); err != nil {
		return info, err
	}
	switch info.Kind {
	case Witness:
		err = p.probeWitness(ctx, address, info.Name)
	case HTTP:
		err = probeHTTP(ctx, address)
	case Kube:
		err = probeKube(ctx, address)
	default:
		err = fmt.Errorf("it is of kind %q, which has no probe", info.Kind)
	}
	return info, err
}

// probeWitness compares what the witness says to a client with what it says here.
func (p *OwnPort) probeWitness(ctx context.Context, address, name string) error {
	conn, stop, err := dialProbe(ctx, address)
	if err != nil {
		return err
	}
	defer stop()
	told, err := witness.Ask(conn, witness.Order{Nonce: "ready-" + rand.Text(), Do: witness.Close})
	if err != nil {
		return err
	}
	kept, err := p.Wait(ctx, told.Nonce, false)
	if err == nil && (told.Witness != name || kept.Witness != name || kept.Remote != told.Remote) {
		err = fmt.Errorf("witness %q answers %s, and its log has witness %q and %s, where %q was started", told.Witness, told.Remote, kept.Witness, kept.Remote, name)
	}
	return err
}

// Accepted is negative, and never twice the same, when it cannot be had: who is not asked has not said that nobody came.
func (p *OwnPort) Accepted() (n int64) {
	if err := p.ask("/accepted", nil, &n); err != nil {
		p.log.Warn("a witness does not say how many connections it has accepted", "err", err)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.unread++
		return -p.unread
	}
	return n
}

// Find is empty when the records cannot be had.
func (p *OwnPort) Find(nonce string) (recs []witness.Record) {
	if err := p.ask("/records", url.Values{"nonce": {nonce}}, &recs); err != nil {
		p.log.Warn("a witness does not tell its records", "err", err)
		return nil
	}
	return recs
}

// Wait is as that of a witness in this process.
func (p *OwnPort) Wait(ctx context.Context, nonce string, finished bool) (rec witness.Record, err error) {
	err = p.get(ctx, "/record", url.Values{"nonce": {nonce}, "finished": {strconv.FormatBool(finished)}}, &rec)
	if err != nil && ctx.Err() != nil {
		err = notYet(nonce, len(p.Find(nonce)), context.Cause(ctx))
	}
	return rec, err
}

func (p *OwnPort) ask(path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), ownTimeout)
	defer cancel()
	return p.get(ctx, path, query, into)
}

func (p *OwnPort) get(ctx context.Context, path string, query url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask the admin port: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the admin port answers %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxOwnAnswer)).Decode(into); err != nil {
		return fmt.Errorf("the admin port answers %s: %w", path, err)
	}
	return nil
}
