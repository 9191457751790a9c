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
)

// TestCompareInABrowser puts to compare.html what TestReportInABrowser puts to report.html.
func TestCompareInABrowser(t *testing.T) {
	dir := os.Getenv("TLSROUTE_SCREENSHOTS")
	if dir == "" {
		dir = t.ArtifactDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "compare.html")
	if err := os.WriteFile(file, []byte(renderCompared(t, "html", compared(t))), 0o644); err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "file", Path: file}).String()
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU)...)
	defer stop()
	browser, closeBrowser := chromedp.NewContext(alloc)
	defer closeBrowser()
	if err := chromedp.Do(browser); err != nil { // starts it, without a limit of time: see chromedp.Run
		t.Fatal(err)
	}
	for i := range 6 {
		scheme, width := []string{"light", "dark"}[i%2], []int64{360, 900, 1400}[i/2]
		t.Run(fmt.Sprintf("%s-%d", scheme, width), func(t *testing.T) {
			tab, closeTab := chromedp.NewContext(browser)
			defer closeTab()
			var mu sync.Mutex // guards faults: events come on the browser's goroutine
			var faults []string
			fault := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, fmt.Sprintf(format, args...))
			}
			err := chromedp.Listen(tab, func(ev any) {
				switch ev := ev.(type) {
				case *runtime.EventConsoleAPICalled:
					fault("the console says %s", ev.Type)
				case *runtime.EventExceptionThrown:
					fault("exception %s", ev.ExceptionDetails.Text)
				case *log.EventEntryAdded:
					fault("the log says %s", ev.Entry.Text)
				case *network.EventRequestWillBeSent:
					if ev.Request.URL != address && !strings.HasPrefix(ev.Request.URL, "data:") {
						fault("a request to %s", ev.Request.URL)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			tab, cancel := context.WithTimeout(tab, time.Minute)
			defer cancel()
			call(t, tab, network.Enable, network.EnableParams{})
			call(t, tab, log.Enable, cdp.Empty{})
			call(t, tab, runtime.Enable, cdp.Empty{})
			call(t, tab, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width < 500})
			call(t, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			call(t, tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
				t.Fatal(err)
			}
			for _, script := range []string{wider, unnamed, faint, broken} {
				found, err := chromedp.Run(tab, chromedp.Evaluate[[]string](script))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range found {
					fault("%s", f)
				}
			}
			charts, err := chromedp.Run(tab, chromedp.Evaluate[int](`document.querySelectorAll('figure.curve polyline').length`))
			if err != nil || charts < 6 {
				t.Errorf("%d curves (%v), want three runs over each other", charts, err)
			}
			shot, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("compare-%s-%d.png", scheme, width)), shot, 0o644); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, f := range faults {
				t.Error(f)
			}
		})
	}
}
