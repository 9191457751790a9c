//go:build browser

package reports

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tlsroute/tlsroute-bench/internal/result"
)

// TestReportInABrowser opens the page in a real Chromium, light and dark, narrow and wide, with scripts off: no console message, no
// request but the file itself, nothing wider than the window, no text too faint to read. Screenshots go to the directory in
// TLSROUTE_SCREENSHOTS, or with -artifacts to the test's artifacts; without both none is taken.
func TestReportInABrowser(t *testing.T) {
	b := newBrowser(t)
	for page := range b.pages {
		widths := []int64{360, 1400}
		if page == "report" || page == "full" || page == "stress" {
			widths = []int64{360, 780, 1000, 1400, 3840}
		}
		for i := range 2 * len(widths) {
			scheme, width := []string{"light", "dark"}[i%2], widths[i/2]
			t.Run(fmt.Sprintf("%s-%s-%d", page, scheme, width), func(t *testing.T) {
				tab := b.open(t, page, scheme, width)
				scripts := []string{wider, unnamed, faint, lost}
				if page != "stress" && page != "no-bench" {
					scripts = append(scripts, broken) // in those two nothing else is possible
				}
				if width == 3840 {
					scripts = append(scripts, lean)
				}
				for _, script := range scripts {
					for _, f := range tab.faults(t, script) {
						t.Error(f)
					}
				}
				tab.keep(t, fmt.Sprintf("%s-%s-%d", page, scheme, width))
				// The control: each script finds the fault it is for, or it has proved nothing above.
				if _, err := chromedp.Run(tab.ctx, chromedp.Evaluate[bool](spoil)); err != nil {
					t.Fatal(err)
				}
				for i, script := range scripts {
					if len(tab.faults(t, script)) == 0 {
						t.Errorf("script %d does not find the fault put there for it", i)
					}
				}
			})
		}
	}
}

// browser is a Chromium and the pages it is shown.
type browser struct {
	ctx    context.Context //nolint:containedctx // a context of chromedp is the browser itself
	folder string
	shots  string // "": none are kept
	pages  map[string]*result.Run
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	t.Parallel() // each has a browser of its own
	b := &browser{folder: t.TempDir(), shots: os.Getenv("TLSROUTE_SCREENSHOTS"), pages: variants()}
	if b.shots == "" && flag.Lookup("test.artifacts").Value.String() == "true" {
		b.shots = t.ArtifactDir()
	}
	if b.shots != "" {
		if err := os.MkdirAll(b.shots, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.pages["report"], b.pages["stress"] = golden(t), stress(golden(t))
	for page, run := range b.pages {
		b.write(t, page, run)
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)...)
	t.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(alloc)
	t.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil { // starts it, without a limit of time: see chromedp.Run
		t.Fatal(err)
	}
	b.ctx = ctx
	return b
}

func (b *browser) write(t *testing.T, page string, run *result.Run) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.folder, page+".html"), []byte(render(t, "html", run)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tab is a page that is open.
type tab struct {
	ctx   context.Context //nolint:containedctx // a context of chromedp is the tab itself
	shots string
}

// open shows a page with scripts off: nothing of it may need one. What tests evaluate comes from outside and still runs. That the page
// says nothing on the console and asks for nothing is looked at when the test ends.
func (b *browser) open(t *testing.T, page, scheme string, width int64) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	t.Cleanup(closeTab)
	var mu sync.Mutex // guards said, asked: events come on the browser's goroutine
	var said, asked []string
	err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			said = append(said, string(ev.Type))
		case *runtime.EventExceptionThrown:
			said = append(said, ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			said = append(said, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(ev.Request.URL, "data:") {
				asked = append(asked, ev.Request.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: filepath.Join(b.folder, page+".html")}).String()
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		if len(said) > 0 {
			t.Errorf("the console says %q", said)
		}
		if len(asked) != 1 || asked[0] != address {
			t.Errorf("requests %q, want the file alone", asked)
		}
	})
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	call(t, ctx, network.Enable, network.EnableParams{})
	call(t, ctx, log.Enable, cdp.Empty{})
	call(t, ctx, runtime.Enable, cdp.Empty{})
	call(t, ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500})
	call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	call(t, ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	return &tab{ctx, b.shots}
}

func (b *tab) faults(t *testing.T, script string) []string {
	t.Helper()
	faults, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](script))
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

// keep stores a picture of the whole page, if anybody is to see it.
func (b *tab) keep(t *testing.T, name string) {
	t.Helper()
	if b.shots == "" {
		return
	}
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	b.store(t, name, shot)
}

func (b *tab) store(t *testing.T, name string, shot []byte) {
	t.Helper()
	if b.shots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), shot, 0o644); err != nil {
		t.Fatal(err)
	}
}

func call[P, R any](t *testing.T, tab context.Context, cmd cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(tab, cmd, params); err != nil {
		t.Fatal(err)
	}
}

// stress makes everything longer, more or worse than a page would like.
func stress(run *result.Run) *result.Run {
	long := strings.Repeat("averylongnamewithoutanyplacetobreakit", 4)
	run.Verdict, run.Partial, run.Run.Host.CPU = result.Inconclusive, true, long
	run.Bench.Validity = result.Validity{Reasons: []string{"schedule lag p99 is 4.2 ms, over the 1 ms that is allowed", long}}
	run.Scenario.Name, run.Backends[0].Name, run.Backends[1].Product, run.Backends[2].Note = long, long, long, long
	run.Topology = append(run.Topology, result.Path{Name: long, Hops: []result.Hop{{Name: "client->nlb", TLS: true}, {Name: "nlb->" + long, TLS: true}, {Name: long + "->proxy"}, {Name: "proxy->router", TLS: true}}})
	run.Wire = append(run.Wire, result.Wire{Path: long, Hop: "client->nlb", Route: long, SNI: &long, ALPN: []string{long, long}, Source: long})
	c := &run.Conformance.Results[0]
	c.Verdict, c.Check, c.Slug, c.Title, c.Detail, c.Outcome, c.Evidence = result.CheckFail, long, long, long, long, long, []string{long}
	w := &run.Bench.Workloads[0]
	slow := w.Arms[1]
	slow.Path, slow.Upgrade, slow.Phases, slow.ErrorSamples = long, "alpn-ping", map[string]result.Phase{}, []string{long}
	for name, p := range w.Arms[1].Phases {
		p.P50NS, p.P90NS, p.P99NS, p.P999NS, p.MaxNS = p.P50NS*100, p.P90NS*100, p.P99NS*100, p.P999NS*100, p.MaxNS*100
		p.Curve = append([]result.Point{}, p.Curve...)
		for i := range p.Curve {
			p.Curve[i].NS *= 100
		}
		slow.Phases[name] = p
	}
	w.Arms = append(w.Arms, slow, result.Arm{Path: "nothing"})
	w.Comparisons = append(w.Comparisons, result.Comparison{Baseline: "direct", Candidate: long, Metric: "steady_rtt.p50", Ratio: 190, CI95: [2]float64{0.02, 900}, Verdict: "inconclusive"})
	run.Bench.Limits[0].Expr, run.Bench.Limits[0].Detail = long, long
	run.Artifacts = append(run.Artifacts, long)
	return run
}

// wider lists elements that reach past the window (svg text in its margins aside, which is checked as part of its figure).
const wider = `(() => {
  const w = document.documentElement.clientWidth, out = [];
  if (document.documentElement.scrollWidth > w) out.push('page ' + document.documentElement.scrollWidth + ' > ' + w);
  for (const e of document.querySelectorAll('main *')) {
    const r = e.getBoundingClientRect();
    if (r.width && (r.right > w + 0.5 || r.left < -0.5)) out.push(e.tagName + '.' + (e.className.baseVal ?? e.className) + ' ' + Math.round(r.left) + '..' + Math.round(r.right) + ' ' + e.textContent.trim().slice(0, 40));
  }
  return out.slice(0, 10);
})()`

// unnamed lists images and controls without a name, and ids that are there twice.
const unnamed = `(() => {
  const out = [];
  for (const e of document.querySelectorAll('svg[role=img]'))
    if (!e.getAttribute('aria-label') && !(e.getAttribute('aria-labelledby') || '').split(' ').every(id => document.getElementById(id)?.textContent)) out.push('svg without a name');
  for (const e of document.querySelectorAll('a, summary')) if (!e.textContent.trim()) out.push(e.outerHTML.slice(0, 60));
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) out.push('id twice: ' + id);
  if (document.querySelectorAll('h1').length !== 1) out.push('h1');
  return out.slice(0, 10);
})()`

// lost lists text that cannot be seen: all is to be read without a script, but what a closed fold holds and the labels of an axis that
// is short of room. The heads of tables that become lists are repeated as labels.
const lost = `(() => {
  const out = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest('style, title, desc, .minor, .skip, thead') || e.closest('details:not([open]) > :not(summary)')) continue;
    const r = e.getBoundingClientRect();
    if (!e.checkVisibility({opacityProperty: true, visibilityProperty: true}) || r.width === 0 || r.height === 0) out.push('not seen: ' + e.tagName + ' ' + e.textContent.trim().slice(0, 40));
  }
  return out.slice(0, 10);
})()`

// lean says what is wrong with a page on a very wide screen: a column that is lost in it, or lines too long to read.
const lean = `(() => {
  const out = [], w = document.documentElement.clientWidth, m = document.querySelector('main').getBoundingClientRect();
  if (m.width < 0.4 * w || Math.abs(m.left + m.right - w) > 2) out.push('main from ' + m.left + ' to ' + m.right);
  if (parseFloat(getComputedStyle(document.body).fontSize) < 20) out.push('small text');
  for (const p of document.querySelectorAll('main p')) if (p.textContent.length > 200 && p.getBoundingClientRect().width > 65 * parseFloat(getComputedStyle(p).fontSize)) out.push('long lines: ' + p.textContent.slice(0, 40));
  return out;
})()`

// spoil puts one fault of each kind into the page.
const spoil = `(() => { const p = document.createElement('p'); p.style.cssText = 'width:5000px;color:#777;background:#777'; p.textContent = 'x'.repeat(201);
  const h = document.createElement('p'); h.textContent = 'hidden'; h.style.visibility = 'hidden'; document.querySelector('main').append(h);
  const b = document.createElement('p'); b.style.cssText = 'width:2em;overflow-wrap:anywhere'; b.textContent = 'embedded'; document.querySelector('main').append(b);
  const s = document.createElementNS('http://www.w3.org/2000/svg', 'svg'); s.setAttribute('role', 'img'); p.append(s); document.querySelector('main').append(p); return true; })()`

// broken lists words of up to twelve letters that were cut to fit.
const broken = `(() => {
  const out = [], walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT), range = document.createRange();
  for (let n; (n = walk.nextNode());) {
    if (!n.parentElement.checkVisibility()) continue;
    for (const m of n.data.matchAll(/[A-Za-z]{2,12}/g)) {
      range.setStart(n, m.index); range.setEnd(n, m.index + m[0].length);
      const lines = new Set([...range.getClientRects()].filter(r => r.width > 0).map(r => Math.round(r.top)));
      const alone = !/[A-Za-z0-9._/-]/.test((n.data[m.index - 1] || ' ') + (n.data[m.index + m[0].length] || ' '));
      if (alone && lines.size > 1) out.push('cut: ' + m[0] + ' in ' + n.parentElement.tagName + '.' + n.parentElement.className);
    }
  }
  return out.slice(0, 10);
})()`

// faint lists text whose contrast with what it stands on is under 4.5 to 1 (WCAG 2.2, 1.4.3).
const faint = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const lum = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const out = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || ['STYLE', 'TITLE', 'title', 'desc'].includes(e.tagName)) continue;
    let under = e, bg = [0, 0, 0, 0];
    while (under && bg[3] === 0) { bg = parse(getComputedStyle(under).backgroundColor); under = under.parentElement; }
    const s = getComputedStyle(e), fg = parse(e.tagName === 'text' ? s.fill : s.color);
    const a = lum(fg), b = lum(bg), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) out.add('contrast ' + ratio.toFixed(2) + ' of ' + e.tagName + '.' + (e.className.baseVal ?? e.className) + ': ' + e.textContent.trim().slice(0, 30));
  }
  return [...out].slice(0, 10);
})()`
