//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
)

// serviceHTTP answers requests, and echoes in small messages behind one that wants an upgrade.
const serviceHTTP = "http"

var httpBody = strings.Repeat("0123456789abcdef", 16)

var (
	httpAnswer   = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(httpBody), httpBody)
	httpSwitched = []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") // of the load's key, which HAProxy checks
)

// httpState is a connection of the http service.
type httpState struct {
	head     []byte // of a request that has not come whole
	switched bool
}

// answer is what is sent for what has come.
func (h *httpState) answer(b []byte) []byte {
	if h.switched {
		return b
	}
	h.head = append(h.head, b...)
	end := bytes.Index(h.head, []byte("\r\n\r\n"))
	if end < 0 {
		return nil
	}
	if bytes.Contains(bytes.ToLower(h.head[:end]), []byte("\nupgrade:")) {
		h.switched = true
		return append(bytes.Clone(httpSwitched), h.head[end+4:]...)
	}
	h.head = h.head[:0] // nobody here sends the next before the answer
	return httpAnswer
}
