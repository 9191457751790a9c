package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

func init() { Register(Driver{Kind: HTTP, Name: Embedded, Start: startHTTP}) }

// Seen is what a backend of kind http answers with, as JSON: the request as it arrived.
type Seen struct {
	// Backend is the backend's name in the scenario.
	Backend string `json:"backend"`
	Method  string `json:"method"`
	// Path is the request target, query included.
	Path   string      `json:"path"`
	Proto  string      `json:"proto"`
	Host   string      `json:"host"`
	Header http.Header `json:"header"`
	// Remote is the other end of the TCP connection, host:port: the router on 127.0.0.1, or what an engine has before its containers.
	Remote string `json:"remote"`
}

// maxBody is how much of a request's body is read, but by /sum; more is an error of the request.
const maxBody = 1 << 20

func startHTTP(ctx context.Context, spec Spec, r *Running) error {
	r.Info.Product, r.Info.Version = "tlsroute-bench http", "1"
	r.Info.Note = "protocol server: answers every request with the request as it arrived, in JSON, over plaintext HTTP/1 and HTTP/2, but for /ws, /events, " +
		"/bytes/N and /sum. It does not do: files, bodies beyond a mebibyte but to /sum, TLS of its own"
	seen := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { answerSeen(w, req, spec.Name) })
	if err := serveHTTP(spec, r, httpPaths(seen), nil); err != nil {
		return err
	}
	return probeHTTP(ctx, r.Address)
}

func answerSeen(w http.ResponseWriter, r *http.Request, name string) {
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Seen{ // who has left gets no answer
		Backend: name, Method: r.Method, Path: r.RequestURI, Proto: r.Proto, Host: r.Host, Header: r.Header, Remote: r.RemoteAddr,
	})
}

// probeHTTP asks once.
func probeHTTP(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask it: %w", err)
	}
	defer resp.Body.Close()
	var seen Seen
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&seen); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s: %w", resp.Status, err)
	}
	return nil
}
