package reportserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
	"github.com/tlsroute/tlsroute-bench/reports"
)

const (
	// maxDepth is how far below the folder a run may be: a run of several scenarios leaves a folder of folders.
	maxDepth = 3
	// maxRuns bounds the list, maxEntries what is looked at to make it, maxCompared the runs side by side.
	maxRuns     = 500
	maxEntries  = 20_000
	maxCompared = 6
	// maxReport bounds a report that is read for a page, in bytes: that of a run of ten minutes is under 3 MiB.
	maxReport  = 64 << 20
	reportFile = "report.json"
)

// Compare gives the statistics of each later run against the first one.
type Compare func(runs []*result.Run) []*result.Against

// Folder shows the runs below a folder. Nothing outside of it is read, whatever a link in it points to.
type Folder struct {
	root    *os.Root
	compare Compare
	mux     *http.ServeMux

	mu    sync.Mutex // guards known
	known map[string]known
}

// known is what the list says of a report that has not changed since.
type known struct {
	size     int64
	modified time.Time
	item     reports.ListItem
}

// OpenFolder opens the folder, until Close.
func OpenFolder(dir string, compare Compare) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of runs: %w", err)
	}
	f := &Folder{root: root, compare: compare, mux: http.NewServeMux(), known: map[string]known{}}
	f.mux.HandleFunc("GET /{$}", f.list)
	f.mux.HandleFunc("GET /compare", f.side)
	f.mux.HandleFunc("GET /runs/{file...}", f.file)
	return f, nil
}

// Close gives the folder up.
func (f *Folder) Close() error { return f.root.Close() }

func (f *Folder) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

func (f *Folder) list(w http.ResponseWriter, _ *http.Request) {
	dirs, cut := f.find()
	items := make([]reports.ListItem, 0, len(dirs))
	for _, dir := range dirs {
		items = append(items, f.item(dir))
	}
	slices.SortStableFunc(items, func(a, b reports.ListItem) int { return b.Started.Compare(a.Started) })
	if len(items) > maxRuns {
		items, cut = items[:maxRuns], true
	}
	write(w, func(out io.Writer) error { return reports.WriteList(out, items, cut) })
}

// find lists the folders with a report, and says whether there may be more.
func (f *Folder) find() (dirs []string, cut bool) {
	entries := 0
	_ = fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // one folder that may not be read hides none of the others
		}
		if entries++; entries > maxEntries {
			cut = true
			return fs.SkipAll
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || strings.Count(name, "/") >= maxDepth) {
			return fs.SkipDir
		}
		if !d.IsDir() && d.Name() == reportFile {
			dirs = append(dirs, path.Dir(name))
		}
		return nil
	})
	return dirs, cut
}

// item reads a report for the list, once for each state of its file.
func (f *Folder) item(dir string) reports.ListItem {
	name := path.Join(dir, reportFile)
	info, err := f.root.Stat(name)
	if err != nil {
		return reports.ListItem{Dir: dir, Fault: "it cannot be read"}
	}
	f.mu.Lock()
	old, ok := f.known[dir]
	f.mu.Unlock()
	if ok && old.size == info.Size() && old.modified.Equal(info.ModTime()) {
		return old.item
	}
	item := reports.ListItem{Dir: dir, Started: info.ModTime()}
	if run, err := f.read(dir); err != nil {
		item.Fault = err.Error()
	} else {
		item = reports.NewListItem(dir, run)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) > 2*maxRuns {
		clear(f.known) // folders that are gone do not stay
	}
	f.known[dir] = known{info.Size(), info.ModTime(), item}
	return item
}

func (f *Folder) read(dir string) (*result.Run, error) {
	file, err := f.root.Open(path.Join(dir, reportFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: it is no file", reportFile)
	case info.Size() > maxReport:
		return nil, fmt.Errorf("%s: it is larger than %d MiB", reportFile, maxReport>>20)
	}
	return reports.Read(file)
}

func (f *Folder) side(w http.ResponseWriter, r *http.Request) {
	names := r.URL.Query()["run"]
	if len(names) < 2 || len(names) > maxCompared {
		http.Error(w, fmt.Sprintf("choose 2 to %d runs to compare", maxCompared), http.StatusBadRequest)
		return
	}
	var list []reports.Labeled
	var runs []*result.Run
	for _, name := range names {
		if !fs.ValidPath(name) {
			http.Error(w, "that is no run of this folder", http.StatusBadRequest)
			return
		}
		run, err := f.read(name)
		if err != nil {
			fail(w, err)
			return
		}
		list, runs = append(list, reports.Labeled{Label: name, Run: run}), append(runs, run)
	}
	// The earliest is what the others are compared with, in whatever order they were ticked.
	slices.SortStableFunc(list, func(a, b reports.Labeled) int { return a.Run.Run.Started.Compare(b.Run.Run.Started) })
	slices.SortStableFunc(runs, func(a, b *result.Run) int { return a.Run.Started.Compare(b.Run.Started) })
	compared, err := reports.Compare(list, f.compare(runs))
	if err != nil {
		fail(w, err)
		return
	}
	write(w, func(out io.Writer) error { return reports.WriteComparePage(out, compared) })
}

// file answers with the page of a run, or with a file that the run left. A page is made from report.json, never taken from the folder:
// what else calls itself HTML there is shown as text.
func (f *Folder) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if !fs.ValidPath(name) || name == "." || slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool { return strings.HasPrefix(s, ".") }) {
		http.NotFound(w, r)
		return
	}
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if base == "report.html" {
		run, err := f.read(dir)
		if err != nil {
			fail(w, err)
			return
		}
		html, err := reports.Get("html")
		if err != nil {
			fail(w, err)
			return
		}
		write(w, func(out io.Writer) error { return html.Write(out, run) })
		return
	}
	if !f.ofRun(dir) {
		http.NotFound(w, r)
		return
	}
	file, err := f.root.Open(name)
	if err != nil {
		fail(w, err)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	kind := "text/plain; charset=utf-8"
	switch path.Ext(base) {
	case ".json":
		kind = "application/json"
	case ".pcapng", ".gz", ".zip":
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, base, info.ModTime(), file)
}

// ofRun says whether a folder is that of a run, or below it.
func (f *Folder) ofRun(dir string) bool {
	for ; ; dir = path.Dir(dir) {
		if info, err := f.root.Stat(path.Join(dir, reportFile)); err == nil && info.Mode().IsRegular() {
			return true
		}
		if dir == "." {
			return false
		}
	}
}

// write makes a page whole before any of it is sent.
func write(w http.ResponseWriter, page func(io.Writer) error) {
	var buf bytes.Buffer
	if err := page(&buf); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(buf.Bytes()) // a browser that went away is nobody's fault
}

func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok { // a link that leads outside, a folder in place of a file
		http.Error(w, "that cannot be read", http.StatusForbidden)
		return
	}
	http.Error(w, err.Error(), http.StatusUnprocessableEntity)
}
