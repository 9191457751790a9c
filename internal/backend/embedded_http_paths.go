package backend

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Bounds of the paths below, far beyond what a scenario asks for.
const (
	maxBytes    = 64 << 30
	maxEvents   = 1 << 20
	maxInterval = time.Hour
	maxMessage  = 1 << 24
	maxPaces    = 1 << 10
)

// HTTPSum is what /sum answers with.
type HTTPSum struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// httpPaths leads the paths on which a backend of kind http does more than to answer with what it saw. It is no ServeMux, which would
// redirect a path that is not clean, where a test may want to see it.
func httpPaths(seen http.HandlerFunc) http.Handler {
	events := &eventPath{paces: make(map[string]chan struct{})}
	own := map[string]http.HandlerFunc{
		"GET /ws": echoMessages, "POST /sum": sumUpload, "PUT /sum": sumUpload, "GET /events": events.send, "POST /events": events.next,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := seen
		if h, ok := own[r.Method+" "+r.URL.Path]; ok {
			handler = h
		} else if n, ok := strings.CutPrefix(r.URL.Path, "/bytes/"); ok && r.Method == http.MethodGet {
			handler = func(w http.ResponseWriter, r *http.Request) { sendBytes(w, r, n) }
		}
		handler(w, r)
	})
}

// echoMessages gives each message back, of its own type.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any page may ask; there is nothing here to be had
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxMessage)
	for {
		kind, message, err := readMessage(r.Context(), c)
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// readMessage is a read with an end, whatever the other side does.
func readMessage(ctx context.Context, c *websocket.Conn) (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	return c.Read(ctx)
}

// SeededBytes is the stream of /bytes: the same for a seed on every machine.
func SeededBytes(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// sendBytes answers with n bytes of a seed, their digest behind them as a trailer (RFC 9530, Repr-Digest).
func sendBytes(w http.ResponseWriter, r *http.Request, number string) {
	n, err := strconv.ParseInt(number, 10, 64)
	seed, err2 := strconv.ParseUint(orZero(r.FormValue("seed")), 10, 64)
	if err = errors.Join(err, err2); err != nil || n < 0 || n > maxBytes {
		http.Error(w, fmt.Sprintf("/bytes/N?seed=S wants N from 0 to %d and a whole number S", int64(maxBytes)), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", "Repr-Digest")
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(w, sum), SeededBytes(seed), n); err != nil {
		panic(http.ErrAbortHandler) // or it would end well, only short
	}
	w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":")
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// sumUpload reads a body of any size and says how much it was, and its hash.
func sumUpload(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, fmt.Sprintf("the body ends after %d bytes: %v", n, err), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(HTTPSum{Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
}

// eventPath sends server-sent events: n of them, one every interval; or, with a pace, each when somebody asked for it by a POST
// with the same pace, so that a client can show that an event arrived before the next was sent.
type eventPath struct {
	mu    sync.Mutex // guards paces
	paces map[string]chan struct{}
}

func (e *eventPath) send(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(orZero(r.FormValue("n")))
	every, err2 := time.ParseDuration(orZero(r.FormValue("every")))
	if err = errors.Join(err, err2); err != nil || n < 0 || n > maxEvents || every < 0 || every > maxInterval {
		http.Error(w, fmt.Sprintf("/events?n=N&every=DURATION&pace=NAME wants N from 0 to %d and a duration of at most %v", maxEvents, maxInterval), http.StatusBadRequest)
		return
	}
	var paced <-chan struct{}
	if name := r.FormValue("pace"); name != "" {
		var done func()
		if paced, done, err = e.open(name); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer done()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	tick := time.NewTicker(max(every, time.Nanosecond))
	defer tick.Stop()
	for i := 1; i <= n; i++ {
		next := tick.C
		if paced != nil {
			next = nil
		}
		select {
		case <-paced:
		case <-next:
		case <-r.Context().Done():
			return
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: event %d of %d\n\n", i, i, n); err != nil || out.Flush() != nil {
			return
		}
	}
}

// open makes a pace that no other stream has.
func (e *eventPath) open(name string) (paced <-chan struct{}, done func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.paces[name] != nil || len(e.paces) >= maxPaces {
		return nil, nil, fmt.Errorf("pace %q is taken, or there are %d: ask by another name, or later", name, maxPaces)
	}
	c := make(chan struct{})
	e.paces[name] = c
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.paces, name)
	}, nil
}

// next lets the stream of a pace send one event, and answers when it goes to.
func (e *eventPath) next(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("pace")
	e.mu.Lock()
	c := e.paces[name]
	e.mu.Unlock()
	if c == nil {
		http.Error(w, fmt.Sprintf("no stream has the pace %q: GET /events?n=N&pace=NAME first", name), http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), loginTimeout)
	defer cancel()
	select {
	case c <- struct{}{}:
		w.WriteHeader(http.StatusNoContent)
	case <-ctx.Done():
		http.Error(w, "its stream has sent all that it had to send", http.StatusGone)
	}
}
