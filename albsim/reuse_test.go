package albsim

import (
	"strconv"
	"strings"
	"testing"
)

// Requests of one client, and answers of one target's connection, are read into the same memory: nothing of one may be in the next.
func TestNothingOfARequestIsInTheNext(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString("X-Left-" + strconv.Itoa(i) + ": over\r\n")
		}
		return b.String()
	}
	target := newStub(t, nil, func(c *client, head string) {
		extra := ""
		if n := fieldOf(head, "X-Many"); n != "" {
			count, _ := strconv.Atoi(n)
			extra = many(count)
			if _, err := c.br.Discard(len("hi")); err != nil {
				t.Error(err)
			}
		}
		say(c, "HTTP/1.1 200 OK\r\n"+extra+"Content-Length: 2\r\n\r\nok")
	})
	m := start(t, plain(target.addr), Options{})
	first, second := m.dial(), m.dial()
	logged := 0
	over := func() []string { // a request's line is written when its target's connection is back in the pool
		logged++
		return m.logLines(logged)[logged-1]
	}
	sizes := map[string]bool{}                                                  // what came with a GET is the same each time
	for _, n := range []int{1, usualFields / 2, usualFields, 3 * usualFields} { // the last is too much to be kept
		first.send("POST /first?q HTTP/1.1\r\nHost: a\r\nX-Many: " + strconv.Itoa(n) + "\r\n" + many(n) + "Content-Length: 2\r\n\r\nhi")
		if _, head, body := first.response(); strings.Count(head, "X-Left-") != n || body != "ok" {
			t.Fatalf("%d fields: answered %q", n, head)
		}
		if head := target.head(t); strings.Count(head, "X-Left-") != n {
			t.Fatalf("%d fields: the target got %q", n, head)
		}
		over()
		for _, c := range []*client{first, second} { // the second client's request goes over the same connection to the target
			c.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
			if status, head, body := c.response(); status != 200 || strings.Contains(head, "X-Left-") || body != "ok" {
				t.Errorf("%d fields before: answered %q %q", n, head, body)
			}
			head := target.head(t)
			if !strings.HasPrefix(head, "GET /next HTTP/1.1\r\n") || strings.Contains(head, "X-Left-") || has(head, "Content-Length") || has(head, "X-Many") {
				t.Errorf("%d fields before: the target got %q", n, head)
			}
			line := over()
			if line[12] != `"GET` {
				t.Errorf("%d fields before: logged %q", n, line)
			}
			sizes[line[10]] = true
		}
	}
	if n := target.accepts.Load(); n != 1 {
		t.Errorf("%d connections to the target, want 1", n)
	}
	if len(sizes) != 1 {
		t.Errorf("the GETs are logged with the sizes %v", sizes)
	}
}

func TestNothingOfAnInterimAnswerIsInTheFinalOne(t *testing.T) {
	target := newStub(t, nil, func(c *client, head string) {
		say(c, "HTTP/1.1 103 Early Hints\r\nX-Early: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	c := start(t, plain(target.addr), Options{}).dial()
	c.send(plainGet)
	head := c.head()
	if strings.HasPrefix(head, "HTTP/1.1 103 ") {
		head = c.head()
	}
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || has(head, "X-Early") {
		t.Errorf("answered %q", head)
	}
}

func TestAppendLowerIsToLower(t *testing.T) {
	for _, name := range []string{"", "Host", "x-AMZN-Mtls-Clientcert", "Connectİon", "\u212aeep-Alive", "a\xffB", strings.Repeat("Long-", 40)} {
		var room [8]byte
		if got := string(appendLower(room[:0], name)); got != strings.ToLower(name) {
			t.Errorf("%q became %q, want %q", name, got, strings.ToLower(name))
		}
	}
}
