//go:build browser

package reports

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// named are the roles, as Chromium's accessibility tree calls them, that a reader of a screen reader goes by.
var named = map[string]bool{"image": true, "img": true, "link": true, "button": true, "DisclosureTriangle": true, "table": true, "region": true, "navigation": true, "heading": true, "graphics-document": true}

// What a screen reader is given: every picture, link, button, fold, table and region has a name.
func TestEverythingHasAnAccessibleName(t *testing.T) {
	b := newBrowser(t)
	for _, page := range []string{"report", "full", "chain", "fail"} {
		t.Run(page, func(t *testing.T) {
			tab := b.open(t, page, "light", 1400)
			nameless, seen := tab.nameless(t)
			for _, n := range nameless {
				t.Error(n)
			}
			for _, role := range []string{"link", "table", "region", "heading"} {
				if seen[role] == 0 {
					t.Errorf("no %s among %v: the tree was not read", role, seen)
				}
			}
			if page == "full" && (seen["image"]+seen["img"] < 20 || seen["DisclosureTriangle"] < 5) {
				t.Errorf("the pictures and folds were not read: %v", seen)
			}
			// The control.
			if _, err := chromedp.Run(tab.ctx, chromedp.Evaluate[bool](`(() => { document.querySelector('main').insertAdjacentHTML('beforeend', '<svg role="img" width="9" height="9"></svg><a href="#x"></a><table><tr><th>a</th></tr><tr><td>b</td></tr></table>'); return true; })()`)); err != nil {
				t.Fatal(err)
			}
			if nameless, _ := tab.nameless(t); len(nameless) != 3 {
				t.Errorf("a picture, a link and a table without names are %q", nameless)
			}
		})
	}
}

func (b *tab) nameless(t *testing.T) (nameless []string, seen map[string]int) {
	t.Helper()
	call(t, b.ctx, accessibility.Enable, cdp.Empty{})
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	text := func(v *accessibility.Value) (s string) {
		if v != nil && len(v.Value) > 0 {
			_ = json.Unmarshal(v.Value, &s) // a value that is no string is no name
		}
		return s
	}
	seen = map[string]int{}
	for _, n := range tree.Nodes {
		role := text(n.Role)
		if n.Ignored || !named[role] {
			continue
		}
		seen[role]++
		if text(n.Name) == "" {
			nameless = append(nameless, fmt.Sprintf("%s %d has no name", role, n.BackendDOMNodeID))
		}
	}
	return nameless, seen
}

// stops is what the Tab key must reach, in the order of the document.
const stops = `[...document.querySelectorAll('a[href], summary, [tabindex="0"]')].filter(e => e.checkVisibility()).map((e, i) => (e.dataset.stop = i, e.tagName + ' ' + e.textContent.trim().slice(0, 30)))`

// focused is the number of the element that has the focus, and whether one sees that it has.
const focused = `(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
  return [e.dataset.stop ?? 'none', s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 ? 'outlined' : 'no outline', r.width > 0 && r.right > 0 && r.bottom > 0 && r.top < innerHeight ? 'in view' : 'out of view'].join(', '); })()`

// The keyboard alone is enough: Tab goes through all links and folds in the order of the document, each is seen to have the focus, the
// first leads past the head of the page, and Enter opens a fold.
func TestFocusFollowsTheDocument(t *testing.T) {
	b := newBrowser(t)
	for _, page := range []string{"report", "full"} {
		t.Run(page, func(t *testing.T) {
			tab := b.open(t, page, "light", 1000)
			// Scrolling to what has the focus is smooth unless less motion is asked for, and a picture in between is out of view.
			call(t, tab.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
			want := tab.faults(t, stops)
			if len(want) < 10 || want[0] != "A Skip to the verdict" {
				t.Fatalf("stops %q", want)
			}
			for i, name := range want {
				if err := chromedp.Do(tab.ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
					t.Fatal(err)
				}
				got, err := chromedp.Run(tab.ctx, chromedp.Evaluate[string](focused))
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("%d, outlined, in view", i); got != want {
					t.Fatalf("Tab %d, to %q: %s, want %s", i+1, name, got, want)
				}
			}
			opened, err := chromedp.Run(tab.ctx, chromedp.Evaluate[bool](`(() => { const s = [...document.querySelectorAll('details:not([open]) > summary')].find(e => e.checkVisibility()); s.focus(); return s.parentElement.open; })()`))
			if err != nil || opened {
				t.Fatalf("a closed fold: open %v, %v", opened, err)
			}
			if err := chromedp.Do(tab.ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
				t.Fatal(err)
			}
			if opened, err = chromedp.Run(tab.ctx, chromedp.Evaluate[bool](`document.activeElement.parentElement.open`)); err != nil || !opened {
				t.Errorf("Enter on a fold: open %v, %v", opened, err)
			}
		})
	}
}

// Paper hides nothing: what is folded on the screen is there, too, and all fits an A4 page of 180 mm between its margins.
func TestPrintHidesNothing(t *testing.T) {
	b := newBrowser(t)
	// The same as lost, but folds count; the navigation leads nowhere on paper.
	const unprinted = `(() => {
	  const out = [];
	  for (const e of document.querySelectorAll('body *')) {
	    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.closest('style, title, desc, .minor, .skip, thead, nav')) continue;
	    const r = e.getBoundingClientRect();
	    if (!e.checkVisibility({opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true}) || r.width === 0 || r.height === 0) out.push('not printed: ' + e.tagName + ' ' + e.textContent.trim().slice(0, 40));
	  }
	  return out.slice(0, 10);
	})()`
	for _, page := range []string{"report", "full", "chain"} {
		t.Run(page, func(t *testing.T) {
			tab := b.open(t, page, "light", 680)
			if n := len(tab.faults(t, unprinted)); n == 0 {
				t.Error("nothing is folded on the screen: the page cannot show that folds are printed")
			}
			call(t, tab.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
			for _, script := range []string{unprinted, wider, faint} {
				for _, f := range tab.faults(t, script) {
					t.Error(f)
				}
			}
			tab.keep(t, page+"-print")
			pdf, err := chromedp.Run(tab.ctx, chromedp.PrintToPDF())
			if err != nil || len(pdf) < 20_000 {
				t.Errorf("a PDF of %d bytes, %v", len(pdf), err)
			}
		})
	}
}
