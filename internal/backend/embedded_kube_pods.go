package backend

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxPodChanges = 10_000 // all are kept, for those who watch
	maxPodLines   = 10_000 // of a pod's log; further ones are dropped
)

// pod is a name, with a log of the commands that were run in it.
type pod struct {
	namespace, name string
	version         int
	created         time.Time
	lines           []string
	gone            bool
}

// object is the pod as the API shows it.
func (p *pod) object() map[string]any {
	return map[string]any{
		"kind": "Pod", "apiVersion": "v1",
		"metadata": map[string]any{
			"name": p.name, "namespace": p.namespace, "uid": p.namespace + "-" + p.name, "resourceVersion": strconv.Itoa(p.version),
			"creationTimestamp": p.created.UTC().Format(time.RFC3339),
		},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": "tlsroute-bench"}}},
		"status": map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
			"name": "main", "image": "tlsroute-bench", "ready": true, "state": map[string]any{"running": map[string]any{}},
		}}},
	}
}

// podEvent is a line of a watch.
type podEvent struct {
	Type   string         `json:"type"`
	Object map[string]any `json:"object"`
}

// podStore has the pods, and every change of them: the resource version is their number.
type podStore struct {
	mu      sync.Mutex // guards what follows, and the pods
	pods    map[string]*pod
	changes []podEvent
	changed chan struct{} // closed, and replaced, at every change and every line of a log
}

func newPodStore(names ...string) *podStore {
	s := &podStore{pods: make(map[string]*pod), changed: make(chan struct{})}
	for _, full := range names {
		namespace, name, _ := strings.Cut(full, "/")
		s.add(namespace, name)
	}
	return s
}

// add makes a pod; nil when there is one, or were too many. Whoever calls it later than newPodStore holds mu.
func (s *podStore) add(namespace, name string) map[string]any {
	key := namespace + "/" + name
	if s.pods[key] != nil || len(s.changes) >= maxPodChanges {
		return nil
	}
	p := &pod{namespace: namespace, name: name, created: time.Now()}
	s.pods[key] = p
	return s.note("ADDED", p)
}

func (s *podStore) note(change string, p *pod) map[string]any {
	p.version = len(s.changes) + 1
	object := p.object()
	s.changes = append(s.changes, podEvent{change, object})
	s.wake()
	return object
}

func (s *podStore) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// find returns a pod, or answers that there is none.
func (s *podStore) find(w http.ResponseWriter, namespace, name string) *pod {
	s.mu.Lock()
	p := s.pods[namespace+"/"+name]
	s.mu.Unlock()
	if p == nil {
		kubeFail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("pods %q not found", name))
	}
	return p
}

func (k *kubeAPI) get(w http.ResponseWriter, namespace, name string) {
	if p := k.pods.find(w, namespace, name); p != nil {
		k.pods.mu.Lock()
		object := p.object()
		k.pods.mu.Unlock()
		kubeAnswer(w, http.StatusOK, object)
	}
}

func (k *kubeAPI) list(w http.ResponseWriter, namespace string) {
	s := k.pods
	s.mu.Lock()
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(s.pods)) {
		if p := s.pods[key]; namespace == "" || p.namespace == namespace {
			items = append(items, p.object())
		}
	}
	version := len(s.changes)
	s.mu.Unlock()
	kubeAnswer(w, http.StatusOK, map[string]any{
		"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": strconv.Itoa(version)}, "items": items,
	})
}

var podName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

func (k *kubeAPI) create(w http.ResponseWriter, r *http.Request, namespace string) {
	var wanted struct{ Metadata struct{ Name string } }
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&wanted); err != nil || !podName.MatchString(wanted.Metadata.Name) {
		kubeFail(w, http.StatusUnprocessableEntity, "Invalid", fmt.Sprintf("a pod in JSON with a name is wanted: name %q, %v", wanted.Metadata.Name, err))
		return
	}
	k.pods.mu.Lock()
	object := k.pods.add(namespace, wanted.Metadata.Name)
	k.pods.mu.Unlock()
	if object == nil {
		kubeFail(w, http.StatusConflict, "AlreadyExists", fmt.Sprintf("pods %q already exists, or there were %d changes", wanted.Metadata.Name, maxPodChanges))
		return
	}
	kubeAnswer(w, http.StatusCreated, object)
}

func (k *kubeAPI) remove(w http.ResponseWriter, namespace, name string) {
	p := k.pods.find(w, namespace, name)
	if p == nil {
		return
	}
	k.pods.mu.Lock()
	var object map[string]any
	if !p.gone {
		delete(k.pods.pods, namespace+"/"+name)
		p.gone = true
		object = k.pods.note("DELETED", p)
	}
	k.pods.mu.Unlock()
	if object == nil {
		kubeFail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("pods %q not found", name))
		return
	}
	kubeAnswer(w, http.StatusOK, object)
}

// watch sends each change as one line when it happens: those after resourceVersion, or all that ever were.
func (k *kubeAPI) watch(w http.ResponseWriter, r *http.Request, namespace string) {
	from, err := strconv.Atoi(orZero(r.FormValue("resourceVersion")))
	seconds, err2 := strconv.Atoi(orZero(r.FormValue("timeoutSeconds")))
	s := k.pods
	s.mu.Lock()
	known := len(s.changes)
	s.mu.Unlock()
	if err != nil || err2 != nil || from < 0 || from > known || seconds < 0 {
		kubeFail(w, http.StatusBadRequest, "BadRequest", fmt.Sprintf("resourceVersion is from 0 to %d here, timeoutSeconds a number", known))
		return
	}
	limit := time.Duration(seconds) * time.Second
	if limit == 0 || limit > idleTimeout {
		limit = idleTimeout
	}
	k.follow(w, r, "application/json", limit, func() (text []byte, more bool) {
		for ; from < len(s.changes); from++ {
			if event := s.changes[from]; namespace == "" || strings.HasPrefix(event.Object["metadata"].(map[string]any)["namespace"].(string)+"/", namespace+"/") {
				line, _ := json.Marshal(event) // it is made of strings
				text = append(append(text, line...), '\n')
			}
		}
		return text, true
	})
}

// log sends what was run in a pod, and with follow goes on until the pod is deleted.
func (k *kubeAPI) log(w http.ResponseWriter, r *http.Request, namespace, name string) {
	p := k.pods.find(w, namespace, name)
	if p == nil {
		return
	}
	from, follow := 0, r.FormValue("follow") == "true" || r.FormValue("follow") == "1"
	k.follow(w, r, "text/plain", idleTimeout, func() (text []byte, more bool) {
		for ; from < len(p.lines); from++ {
			text = append(text, p.lines[from]+"\n"...)
		}
		return text, follow && !p.gone
	})
}

// follow sends what next returns, asked with the lock held, at once and after every change, until there is no more or limit is over.
func (k *kubeAPI) follow(w http.ResponseWriter, r *http.Request, contentType string, limit time.Duration, next func() (text []byte, more bool)) {
	w.Header().Set("Content-Type", contentType)
	out := http.NewResponseController(w)
	over := time.NewTimer(limit)
	defer over.Stop()
	for {
		k.pods.mu.Lock()
		text, more := next()
		changed := k.pods.changed
		k.pods.mu.Unlock()
		if _, err := w.Write(text); err != nil || out.Flush() != nil || !more {
			return
		}
		select {
		case <-changed:
		case <-over.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// say adds a line to a pod's log.
func (s *podStore) say(p *pod, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p.lines) < maxPodLines {
		p.lines = append(p.lines, line)
		s.wake()
	}
}
