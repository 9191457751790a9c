package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// What a foreign log may hold. A line of ours has at most some 90 kB: 22 thousand buckets, compressed and in base64.
const (
	maxLogLine      = 1 << 20
	maxLogIntervals = 5_000_000
	maxTag          = 200
)

// pairMark is a comment before the intervals of a window that says which pair the window is of; those without are of none. Other
// readers of interval logs pass over it.
const pairMark = "#[Pair: "

// interval is one line of an interval log.
type interval struct {
	tag      string
	pair     int // -1 for none
	from, to int64
	counts   *hdr.Histogram
}

// intervals reads an HdrHistogram V2 interval log, line by line. It takes histograms of the geometry of this package alone, since others
// cannot be added to them exactly, and after an error there is nothing more.
func intervals(in io.Reader) iter.Seq2[interval, error] {
	return func(yield func(interval, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(make([]byte, 0, 64<<10), maxLogLine)
		pair, n := -1, 0
		for number := 1; lines.Scan(); number++ {
			line := strings.TrimRight(lines.Text(), "\r")
			var err error
			switch {
			case strings.HasPrefix(line, pairMark):
				pair, err = strconv.Atoi(strings.TrimSuffix(line[len(pairMark):], "]"))
				if err == nil && (pair < -1 || pair > math.MaxInt32) {
					err = errors.New("no such pair")
				}
			case line == "", line[0] == '#', strings.HasPrefix(line, `"StartTimestamp"`):
				continue
			default:
				var iv interval
				if iv, err = parseInterval(line); err == nil {
					if n++; n > maxLogIntervals {
						err = fmt.Errorf("more than %d intervals", maxLogIntervals)
					}
				}
				if err == nil {
					iv.pair = pair
					if !yield(iv, nil) {
						return
					}
				}
			}
			if err != nil {
				yield(interval{}, fmt.Errorf("line %d: %w", number, err))
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(interval{}, err)
		}
	}
}

// parseInterval reads "Tag=NAME,start,length,max,payload", times in seconds; the tag may be missing.
func parseInterval(line string) (iv interval, err error) {
	if rest, ok := strings.CutPrefix(line, "Tag="); ok {
		if iv.tag, line, ok = strings.Cut(rest, ","); !ok || len(iv.tag) > maxTag || strings.ContainsAny(iv.tag, " \t") {
			return iv, errors.New("a tag that is none")
		}
	}
	fields := strings.Split(line, ",")
	if len(fields) != 4 {
		return iv, fmt.Errorf("%d fields, want start, length, maximum and histogram", len(fields))
	}
	var times [2]float64
	for i := range times {
		// Up to some 3,000 years: what is beyond fits no millisecond count.
		if times[i], err = strconv.ParseFloat(fields[i], 64); err != nil || !(times[i] >= 0 && times[i] < 1e11) {
			return iv, fmt.Errorf("%q is no time in seconds", fields[i])
		}
	}
	iv.from = int64(math.Round(times[0] * 1000))
	iv.to = iv.from + int64(math.Round(times[1]*1000))
	h, err := hdr.Decode([]byte(fields[3]))
	if err != nil {
		return iv, err
	}
	if own := geometryOf(newHistogram()); geometryOf(h) != own {
		return iv, fmt.Errorf("a histogram of %v, which cannot be added exactly to those of %v (lowest, highest, digits)", geometryOf(h), own)
	}
	h.SetTag(iv.tag)
	h.SetStartTimeMs(iv.from)
	h.SetEndTimeMs(iv.to)
	iv.counts = h
	return iv, nil
}

func geometryOf(h *hdr.Histogram) [3]int64 {
	return [3]int64{h.LowestTrackableValue(), h.HighestTrackableValue(), h.SignificantFigures()}
}

// addExactly adds bucket by bucket; what does not fit, or overflows a count, is an error and not a smaller sum.
func addExactly(to, from *hdr.Histogram) error {
	if from.TotalCount() > math.MaxInt64-to.TotalCount() {
		return errors.New("more samples than can be counted")
	}
	if dropped := to.Merge(from); dropped != 0 {
		return fmt.Errorf("%d samples do not fit", dropped)
	}
	return nil
}

// logWindow is all intervals of one pair, of every arm, or one interval that is of none.
type logWindow struct {
	pair int
	rows []interval
}

// logWindows puts the intervals of a pair together.
func logWindows(in io.Reader) iter.Seq2[logWindow, error] {
	return func(yield func(logWindow, error) bool) {
		var w logWindow
		for iv, err := range intervals(in) {
			if err != nil {
				yield(logWindow{}, err)
				return
			}
			if len(w.rows) > 0 && (iv.pair < 0 || iv.pair != w.pair) {
				if !yield(w, nil) {
					return
				}
				w = logWindow{}
			}
			w.pair, w.rows = iv.pair, append(w.rows, iv)
		}
		if len(w.rows) > 0 {
			yield(w, nil)
		}
	}
}

// joinLogs gives the windows of several logs. Aligned ones are of one measurement: what has the same pair and tag is added, and pairs
// keep their numbers. Others follow each other, and their pairs are counted on.
func joinLogs(logs []io.Reader, aligned bool, each func(logWindow) error) error {
	if !aligned {
		offset := 0
		for i, in := range logs {
			next := offset
			for w, err := range logWindows(in) {
				if err == nil && w.pair >= 0 {
					w.pair += offset
					next = max(next, w.pair+1)
				}
				if err == nil {
					err = each(w)
				}
				if err != nil {
					return fmt.Errorf("log %d: %w", i+1, err)
				}
			}
			offset = next
		}
		return nil
	}
	type head struct {
		w    logWindow
		next func() (logWindow, error, bool)
	}
	var heads []*head
	advance := func(h *head) (more bool, err error) {
		before := h.w.pair
		h.w, err, more = h.next()
		if more && err == nil && len(h.w.rows) > 0 && h.w.pair >= 0 && before > h.w.pair {
			err = fmt.Errorf("pair %d comes after pair %d", h.w.pair, before)
		}
		return more, err
	}
	for i, in := range logs {
		next, stop := iter.Pull2(logWindows(in))
		defer stop()
		h := &head{w: logWindow{pair: -1}, next: next}
		more, err := advance(h)
		if err != nil {
			return fmt.Errorf("log %d: %w", i+1, err)
		}
		if more {
			heads = append(heads, h)
		}
	}
	for len(heads) > 0 {
		pair := heads[0].w.pair
		for _, h := range heads {
			pair = min(pair, h.w.pair)
		}
		var sum logWindow
		left := heads[:0]
		for _, h := range heads {
			if h.w.pair == pair {
				if err := sum.add(h.w); err != nil {
					return err
				}
				more, err := advance(h)
				if err != nil {
					return err
				}
				if !more {
					continue
				}
			}
			left = append(left, h)
		}
		heads = left
		if err := each(sum); err != nil {
			return err
		}
	}
	return nil
}

// add takes the window of another process: intervals of one tag are added, unless they are of no pair.
func (w *logWindow) add(o logWindow) error {
	w.pair = o.pair
next:
	for _, iv := range o.rows {
		for i := range w.rows {
			if w.rows[i].tag == iv.tag && iv.pair >= 0 {
				if err := addExactly(w.rows[i].counts, iv.counts); err != nil {
					return fmt.Errorf("pair %d, %s: %w", iv.pair, iv.tag, err)
				}
				continue next
			}
		}
		w.rows = append(w.rows, iv)
	}
	return nil
}
