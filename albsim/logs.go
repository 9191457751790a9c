package albsim

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// logTime is how both logs write a moment.
const logTime = "2006-01-02T15:04:05.000000Z"

// logFile is an access or a connection log: whole lines, appended. The zero value writes nowhere.
type logFile struct {
	mu   sync.Mutex // one line at a time; guards what follows
	file *os.File
	text []byte // of the last line
}

func (l *logFile) open(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	l.file = f
	return err
}

func (l *logFile) line(fields ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	l.text = l.text[:0]
	for _, f := range fields {
		l.text = append(append(l.text, f...), ' ')
	}
	l.text[len(l.text)-1] = '\n'
	_, err := l.file.Write(l.text)
	return err
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func secs(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// goneAway is the code of a request that was answered with GOAWAY: alb.md section 7.
const goneAway = -1

func status(code int) string {
	switch code {
	case 0:
		return "-"
	case goneAway:
		return "000"
	}
	return strconv.Itoa(code)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// quote keeps one record on one line whatever the client sent.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 3)
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			fmt.Fprintf(&b, "\\x%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if s == "" {
		b.WriteByte('-')
	}
	b.WriteByte('"')
	return b.String()
}
