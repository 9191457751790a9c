//go:build browser

package reports

import (
	"context"
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

// TestReportInABrowser opens the page in a real Chromium, light and dark, narrow and wide, with scripts off in one case: no
// console message, no request but the file itself, nothing wider than the window. Screenshots go to the directory in
// TLSROUTE_SCREENSHOTS, else to the test's artifacts.
func TestReportInABrowser(t *testing.T) {
	dir := os.Getenv("TLSROUTE_SCREENSHOTS")
	if dir == "" {
		dir = t.ArtifactDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	pages := variants()
	pages["report"], pages["stress"] = golden(t), stress(golden(t))
	for page, run := range pages {
		if err := os.WriteFile(filepath.Join(folder, page+".html"), []byte(render(t, "html", run)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)...)
	defer stop()
	browser, closeBrowser := chromedp.NewContext(alloc)
	defer closeBrowser()
	if err := chromedp.Do(browser); err != nil { // starts it, without a limit of time: see chromedp.Run
		t.Fatal(err)
	}

	for page := range pages {
		address := (&url.URL{Scheme: "file", Path: filepath.Join(folder, page+".html")}).String()
		for i := range 8 {
			scheme, width := []string{"light", "dark"}[i%2], []int64{360, 780, 1000, 1400}[i/2]
			name := fmt.Sprintf("%s-%s-%d", page, scheme, width)
			t.Run(name, func(t *testing.T) {
				tab, closeTab := chromedp.NewContext(browser)
				defer closeTab()
				var mu sync.Mutex // guards said, asked: events come on the browser's goroutine
				var said, asked []string
				err := chromedp.Listen(tab, func(ev any) {
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
				tab, cancel := context.WithTimeout(tab, 60*time.Second)
				defer cancel()
				call(t, tab, network.Enable, network.EnableParams{})
				call(t, tab, log.Enable, cdp.Empty{})
				call(t, tab, runtime.Enable, cdp.Empty{})
				call(t, tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500})
				call(t, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				// Nothing of the page may need a script. The checks below are evaluated from outside and still run.
				call(t, tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
				if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
					t.Fatal(err)
				}
				scripts := []string{wider, unnamed, faint}
				if page != "stress" && page != "no-bench" {
					scripts = append(scripts, broken) // in those two nothing else is possible
				}
				for _, script := range scripts {
					faults, err := chromedp.Run(tab, chromedp.Evaluate[[]string](script))
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range faults {
						t.Error(f)
					}
				}
				shot, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				// The control: each script finds the fault it is for, or it has proved nothing above.
				if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](spoil)); err != nil {
					t.Fatal(err)
				}
				for i, script := range scripts {
					if faults, err := chromedp.Run(tab, chromedp.Evaluate[[]string](script)); err != nil || len(faults) == 0 {
						t.Errorf("script %d does not find the fault put there for it (%v)", i, err)
					}
				}
				if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(said) > 0 {
					t.Errorf("the console says %q", said)
				}
				if len(asked) != 1 || asked[0] != address {
					t.Errorf("requests %q, want the file alone", asked)
				}
			})
		}
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

// spoil puts one fault of each kind into the page.
const spoil = `(() => { const p = document.createElement('p'); p.style.cssText = 'width:3000px;color:#777;background:#777'; p.textContent = 'x';
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
