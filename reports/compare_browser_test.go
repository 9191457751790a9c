//go:build browser

package reports

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestOtherPagesInABrowser puts to the comparison, the list of runs and the page of a run under way what TestReportInABrowser puts to
// report.html.
func TestOtherPagesInABrowser(t *testing.T) {
	b := newBrowser(t)
	var live, list bytes.Buffer
	if err := WriteLivePage(&live, golden(t), golden(t).Run.Finished, time.Hour); err != nil {
		t.Fatal(err)
	}
	items := []ListItem{NewListItem("alb-20261122-141500", golden(t)), NewListItem("several/alb", golden(t)), {Dir: "broken", Fault: "read report: unexpected end of JSON input"}}
	if err := WriteList(&list, items, true); err != nil {
		t.Fatal(err)
	}
	for page, data := range map[string][]byte{"compare": []byte(renderCompared(t, "html", compared(t))), "live": live.Bytes(), "list": list.Bytes()} {
		if err := os.WriteFile(filepath.Join(b.folder, page+".html"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			scheme, width := []string{"light", "dark"}[i%2], []int64{360, 900, 1400}[i/2]
			name := fmt.Sprintf("%s-%s-%d", page, scheme, width)
			t.Run(name, func(t *testing.T) {
				tab := b.open(t, page, scheme, width)
				for _, script := range []string{wider, unnamed, faint, broken} {
					for _, f := range tab.faults(t, script) {
						t.Error(f)
					}
				}
				want, least := `document.querySelectorAll('figure.curve polyline').length`, 6 // three runs over each other
				if page == "list" {
					want, least = `[...document.querySelectorAll('input[type=checkbox]')].filter(e => e.ariaLabel).length`, 2
				}
				if n, err := chromedp.Run(tab.ctx, chromedp.Evaluate[int](want)); err != nil || n < least {
					t.Errorf("%s is %d (%v), want %d", want, n, err, least)
				}
				tab.keep(t, name)
			})
		}
	}
}
