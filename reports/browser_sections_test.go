//go:build browser

package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"iter"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// sections are the parts of the page, each by the first element that is one.
var sections = map[string]string{
	"verdict": "#verdict", "backends": "#backends", "path": ".path:nth-of-type(2)", "checks": "#checks", "faults": "#faults", "environment": "#environment", "gates": ".gates",
	"against": ".against", "levels": ".levels", "capacity": ".capacity", "rate": ".rate", "arms": "#w2 .arms", "placing": ".placing", "curve": "#w0 .curve", "tail": ".tail",
	"waterfall": ".waterfall", "forest": "#w0 .forest", "time": "#w0 .time", "series": "#w0 .panel:nth-of-type(2) .over", "heat": "#w0 .heat", "costs": "#costs",
}

// sectionSize is what is compared of a section: its place on the page in CSS pixels, the share of it that is not background, and how many
// colours its charts have. Fonts differ from machine to machine, so that pixels are not.
type sectionSize struct {
	Width   float64 `json:"width"`
	Height  float64 `json:"height"`
	Ink     float64 `json:"ink"`
	Colours int     `json:"colours"`
}

const (
	sizeTolerance = 0.25 // of width and height
	inkTolerance  = 2.0  // a factor
)

// box is where a section is, and the colours that its charts are drawn with: lines and areas that are opaque.
const box = `(selector => {
  const e = document.querySelector(selector);
  if (!e) return null;
  const r = e.getBoundingClientRect(), colours = new Set();
  for (const s of e.querySelectorAll('polyline.solid, .curve polyline, polyline:not(.thin), rect, path, line.ci')) {
    if (s.closest('defs') || !s.checkVisibility() || s.closest('.key, .swatch')) continue;
    const c = getComputedStyle(s), b = s.getBoundingClientRect();
    if (b.width < 4 && b.height < 4) continue;
    if (c.stroke !== 'none' && parseFloat(c.strokeWidth) >= 2 && c.strokeOpacity === '1' && s.matches('polyline, line')) colours.add(c.stroke);
    if (c.fill !== 'none' && c.fillOpacity === '1' && !s.matches('.dot, polyline, line')) colours.add(c.fill);
  }
  return {x: r.left + scrollX, y: r.top + scrollY, width: r.width, height: r.height, colours: [...colours].sort()};
})`

type sectionBox struct {
	X, Y, Width, Height float64
	Colours             []string
}

// Each section, light and dark, is a picture of the size that it had, with as much in it, and every colour of its charts is to be seen.
func TestSectionsLookAsTheyDid(t *testing.T) {
	const file = "testdata/sections.json"
	want := map[string]sectionSize{}
	if data, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
	} else if !*update {
		t.Fatal(err)
	}
	b := newBrowser(t)
	got := map[string]sectionSize{}
	for _, scheme := range []string{"light", "dark"} {
		tab := b.open(t, "full", scheme, 1400)
		for _, name := range slices.Sorted(maps.Keys(sections)) {
			t.Run(scheme+"/"+name, func(t *testing.T) {
				at, err := chromedp.Run(tab.ctx, chromedp.Evaluate[*sectionBox](fmt.Sprintf("%s(%q)", box, sections[name])))
				if err != nil || at == nil {
					t.Fatalf("no %s on the page: %v", sections[name], err)
				}
				picture := tab.clip(t, at, scheme+"-"+name)
				size := sectionSize{math.Round(at.Width), math.Round(at.Height), math.Round(inkOf(picture)*1e4) / 1e4, len(at.Colours)}
				for _, c := range at.Colours {
					if n := pixelsOf(picture, c); n < 6 {
						t.Errorf("%s is on %d pixels", c, n)
					}
				}
				if pixelsOf(picture, "rgb(255, 0, 255)") > 0 { // the control
					t.Error("a colour that nothing has is found")
				}
				if scheme == "light" {
					got[name] = size
				}
				old, ok := want[name]
				if *update {
					return
				}
				switch {
				case !ok:
					t.Errorf("not in %s: write it with -update", file)
				case math.Abs(size.Width-old.Width) > sizeTolerance*old.Width, math.Abs(size.Height-old.Height) > sizeTolerance*old.Height:
					t.Errorf("%v × %v, was %v × %v", size.Width, size.Height, old.Width, old.Height)
				case size.Ink < old.Ink/inkTolerance || size.Ink > old.Ink*inkTolerance:
					t.Errorf("%.4f of it is drawn on, was %.4f", size.Ink, old.Ink)
				case size.Colours != old.Colours:
					t.Errorf("its charts have %d colours, had %d: %q", size.Colours, old.Colours, at.Colours)
				}
			})
		}
	}
	if *update {
		data, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *tab) clip(t *testing.T, at *sectionBox, name string) *image.RGBA {
	t.Helper()
	beyond := true
	shot, err := chromedp.Call(b.ctx, cdp.CaptureScreenshot, cdp.CaptureScreenshotParams{
		Clip: &cdp.Viewport{X: at.X, Y: at.Y, Width: at.Width, Height: at.Height, Scale: 1}, CaptureBeyondViewport: &beyond,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.store(t, "section-"+name, shot.Data)
	decoded, err := png.Decode(bytes.NewReader(shot.Data))
	if err != nil {
		t.Fatal(err)
	}
	picture := image.NewRGBA(decoded.Bounds()) // one kind, whose bytes are read as they lie: under the race detector a call a pixel takes a minute
	draw.Draw(picture, picture.Rect, decoded, picture.Rect.Min, draw.Src)
	return picture
}

// inkOf is the share of pixels that are not of the commonest colour.
func inkOf(p *image.RGBA) float64 {
	counts := map[[3]byte]int{}
	most, n := 0, 0
	for c, times := range colours(p) {
		counts[c] += times
		most, n = max(most, counts[c]), n+times
	}
	return 1 - float64(most)/float64(n)
}

// pixelsOf counts those of a colour as CSS writes it, give or take what blending with a neighbour makes of it.
func pixelsOf(p *image.RGBA, css string) int {
	var want [3]int
	if _, err := fmt.Sscanf(strings.TrimPrefix(css, "rgb"), "(%d, %d, %d)", &want[0], &want[1], &want[2]); err != nil {
		return 0
	}
	n := 0
	for c, times := range colours(p) {
		near := true
		for i, v := range c {
			near = near && math.Abs(float64(int(v)-want[i])) <= 12
		}
		if near {
			n += times
		}
	}
	return n
}

// colours are those of a picture, each as often in a row as it comes: most of a page is one after the other of the same.
func colours(p *image.RGBA) iter.Seq2[[3]byte, int] {
	return func(yield func([3]byte, int) bool) {
		for pix := p.Pix; len(pix) > 0; {
			times := 1
			for 4*times < len(pix) && string(pix[4*times:4*times+3]) == string(pix[:3]) {
				times++
			}
			if !yield([3]byte(pix), times) {
				return
			}
			pix = pix[4*times:]
		}
	}
}

// A page of a ten-minute run opens at once. How long it took is in the log and is no reason to fail: the machine may have other work.
func TestPageOfTenMinutesOpens(t *testing.T) {
	b := newBrowser(t)
	b.write(t, "ten", tenMinutes())
	b.open(t, "report", "light", 1400) // the browser is warm
	began := time.Now()
	tab := b.open(t, "ten", "light", 1400)
	at := &sectionBox{Width: 1400, Height: 900}
	tab.clip(t, at, "ten-first-screen")
	t.Logf("from nothing to the first picture: %v", time.Since(began).Round(time.Millisecond))
	timing, err := chromedp.Run(tab.ctx, chromedp.Evaluate[map[string]float64](`(() => { const n = performance.getEntriesByType('navigation')[0]; const p = performance.getEntriesByName('first-contentful-paint')[0]; return {paint: p ? p.startTime : 0, load: n.loadEventEnd, content: n.domContentLoadedEventEnd, elements: document.querySelectorAll('*').length}; })()`))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("first picture after %.0f ms, parsed after %.0f ms, loaded after %.0f ms, %.0f elements", timing["paint"], timing["content"], timing["load"], timing["elements"])
	if timing["load"] <= 0 || timing["elements"] < 5000 {
		t.Errorf("%v: the page has not been loaded whole", timing)
	}
	for _, f := range tab.faults(t, wider) {
		t.Error(f)
	}
}
