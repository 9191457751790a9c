package reportserver

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// put writes a report into a folder.
func put(t *testing.T, dir string, run *result.Run) {
	t.Helper()
	run.Schema = result.Schema
	data, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	file(t, filepath.Join(dir, reportFile), string(data))
}

func file(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func runOf(name string, day int) *result.Run {
	return &result.Run{
		Verdict: result.Pass, Scenario: result.Scenario{Name: name},
		Run: result.Info{ID: name, Started: time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)},
		Bench: &result.Bench{Validity: result.Validity{OK: true}, Workloads: []result.Workload{{Name: "echo", Arms: []result.Arm{{
			Path: "direct", Phases: map[string]result.Phase{result.PhaseSteady: {Count: 1000, P50NS: int64(day) * 1000, P90NS: 1, P99NS: 1}},
		}}}}},
	}
}

// serve starts a server over a folder with two runs, a broken one, a page of somebody else and a file outside that a link leads to.
func serve(t *testing.T, compare Compare) (*Server, string) {
	t.Helper()
	outside, dir := t.TempDir(), t.TempDir()
	file(t, filepath.Join(outside, "secret.txt"), "secret")
	put(t, filepath.Join(dir, "monday"), runOf("monday", 1))
	put(t, filepath.Join(dir, "several", "tues day?<b>"), runOf("tuesday", 2))
	file(t, filepath.Join(dir, "broken", reportFile), `{"schema":"tlsroute-bench/report/99"}`)
	file(t, filepath.Join(dir, "monday", "evil.html"), "<script>alert(1)</script>")
	file(t, filepath.Join(dir, "monday", "report.html"), "<script>alert(1)</script>")
	file(t, filepath.Join(dir, "monday", "evidence", "DET-04.txt"), "bytes")
	file(t, filepath.Join(dir, "monday", ".hidden"), "hidden")
	file(t, filepath.Join(dir, "stray.txt"), "of no run")
	if err := os.Symlink(filepath.Join(outside, "secret.txt"), filepath.Join(dir, "monday", "link.txt")); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(dir, compare)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Start(l, f, "bench.example.test")
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

func none(runs []*result.Run) []*result.Against { return make([]*result.Against, len(runs)-1) }

// ask makes a request with a path that no client has tidied.
func ask(t *testing.T, s *Server, method, target, host string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	raw, query, _ := strings.Cut(target, "?")
	req.URL = &url.URL{Scheme: "http", Host: req.URL.Host, Opaque: raw, RawQuery: query}
	if host != "" {
		req.Host = host
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), res.Header
}

func TestFolderListsItsRunsTheLatestFirst(t *testing.T) {
	s, dir := serve(t, none)
	status, page, header := ask(t, s, "GET", "/", "")
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", status, header.Get("Content-Type"))
	}
	tuesday, monday := strings.Index(page, "runs/several/tues%20day%3F%3Cb%3E/report.html"), strings.Index(page, "runs/monday/report.html")
	if tuesday < 0 || monday < tuesday {
		t.Errorf("links at %d and %d, want the later run first:\n%s", tuesday, monday, page)
	}
	if !strings.Contains(page, "tlsroute-bench/report/99") || strings.Contains(page, `value="broken"`) {
		t.Error("a report that cannot be read is not told, or can be picked")
	}
	if n := strings.Count(page, `type="checkbox"`); n != 2 {
		t.Errorf("%d boxes to tick, want 2", n)
	}
	put(t, filepath.Join(dir, "monday"), runOf("changed since", 3))
	if _, page, _ = ask(t, s, "GET", "/", ""); !strings.Contains(page, "changed since") {
		t.Error("a report that was written again is shown as it was")
	}
}

func TestFolderShowsPagesAndFilesOfRunsOnly(t *testing.T) {
	s, _ := serve(t, none)
	for target, want := range map[string]struct {
		status int
		kind   string
		text   string
	}{
		"/runs/monday/report.html":                             {200, "text/html", "<h1"},
		"/runs/several/tues%20day%3F%3Cb%3E/report.html":       {200, "text/html", "tuesday"},
		"/runs/monday/report.json":                             {200, "application/json", `"schema"`},
		"/runs/monday/evidence/DET-04.txt":                     {200, "text/plain", "bytes"},
		"/runs/monday/evil.html":                               {200, "text/plain", "alert"},
		"/runs/broken/report.html":                             {422, "text/plain", "report/99"},
		"/runs/monday/link.txt":                                {403, "", ""},
		"/runs/monday/.hidden":                                 {404, "", ""},
		"/runs/monday/evidence":                                {404, "", ""},
		"/runs/monday/nothing":                                 {404, "", ""},
		"/runs/stray.txt":                                      {404, "", ""},
		"/runs/nowhere/report.html":                            {404, "", ""},
		"/runs/%2e%2e/%2e%2e/etc/passwd":                       {404, "", ""},
		"/runs/monday/..%2f..%2f..%2fetc%2fpasswd":             {404, "", ""},
		"/runs/%2fetc/passwd":                                  {404, "", ""},
		"/compare?run=monday":                                  {400, "", ""},
		"/compare?run=monday&run=../monday":                    {400, "", ""},
		"/compare?run=monday&run=broken":                       {422, "", ""},
		"/compare?run=monday&run=nowhere":                      {404, "", ""},
		"/compare?" + strings.Repeat("run=monday&", 7) + "a=b": {400, "", ""},
		"/favicon.ico":                                         {404, "", ""},
	} {
		status, page, header := ask(t, s, "GET", target, "")
		if status != want.status || !strings.HasPrefix(header.Get("Content-Type"), want.kind) || !strings.Contains(page, want.text) {
			t.Errorf("%s: %d %s, want %d %s with %q:\n%.200s", target, status, header.Get("Content-Type"), want.status, want.kind, want.text, page)
		}
		if strings.Contains(page, "root:") || strings.Contains(page, "secret") {
			t.Errorf("%s shows what is outside of the folder", target)
		}
		if strings.HasPrefix(header.Get("Content-Type"), "text/html") && strings.Contains(page, "<script") {
			t.Errorf("%s: the page of the folder itself was served", target)
		}
		if !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", target, header)
		}
	}
}

func TestFolderComparesWithTheEarliest(t *testing.T) {
	var got []string
	s, _ := serve(t, func(runs []*result.Run) []*result.Against {
		for _, r := range runs {
			got = append(got, r.Run.ID)
		}
		return none(runs)
	})
	status, page, _ := ask(t, s, "GET", "/compare?run=several/tues%20day%3F%3Cb%3E&run=monday", "")
	if status != 200 || !strings.Contains(page, "2 runs compared") || !strings.Contains(page, "2.00×") {
		t.Errorf("%d:\n%.400s", status, page)
	}
	if !slices.Equal(got, []string{"monday", "tuesday"}) {
		t.Errorf("compared in the order %v", got)
	}
}

func TestServerOnlyReadsAndKnowsItsName(t *testing.T) {
	s, _ := serve(t, none)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
		if status, _, header := ask(t, s, method, "/", ""); status != http.StatusMethodNotAllowed || header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, status)
		}
	}
	for host, want := range map[string]int{
		"evil.example": 421, "evil.example:80": 421, "localhost": 200, "localhost:1": 200, "127.0.0.1:1": 200, "[::1]:1": 200, "BENCH.example.test": 200, "127.0.0.1.evil.example": 421,
	} {
		if status, _, _ := ask(t, s, "GET", "/", host); status != want {
			t.Errorf("Host %s: %d, want %d", host, status, want)
		}
	}
	if status, page, _ := ask(t, s, "HEAD", "/", ""); status != 200 || page != "" {
		t.Errorf("HEAD: %d with %d bytes", status, len(page))
	}
}

func TestFolderShowsNoReportWithoutBounds(t *testing.T) {
	s, dir := serve(t, none)
	file(t, filepath.Join(dir, "huge", reportFile), "{}")
	if err := os.Truncate(filepath.Join(dir, "huge", reportFile), maxReport+1); err != nil { // a hole: it takes no room
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "odd", reportFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if status, page, _ := ask(t, s, "GET", "/runs/huge/report.html", ""); status != 422 || !strings.Contains(page, "64 MiB") {
		t.Errorf("%d %s", status, page)
	}
	if status, _, _ := ask(t, s, "GET", "/runs/odd/report.html", ""); status != 422 {
		t.Errorf("a folder for a report: %d", status)
	}
	if status, page, _ := ask(t, s, "GET", "/", ""); status != 200 || strings.Contains(page, `value="huge"`) || strings.Contains(page, `"odd"`) {
		t.Errorf("%d, or it can be picked", status)
	}
}

func TestFolderThatIsNotThere(t *testing.T) {
	if _, err := OpenFolder(filepath.Join(t.TempDir(), "nowhere"), none); err == nil {
		t.Error("no error")
	}
}

func TestServerSaysWhenItEndsByItself(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Start(l, http.NotFoundHandler())
	l.Close()
	<-s.Ended()
	if err := s.Close(); err == nil {
		t.Error("no error")
	}
}
