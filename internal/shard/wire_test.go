package shard

import (
	"bytes"
	"encoding/json"
	"net"
	"testing"
)

// Whatever a connection brings is a message within the limit, or an error.
func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"hello":{"index":1,"of":2,"plan_sha256":"a"}}` + "\n"))
	f.Add([]byte(`{"point":"x","values":[1,1e308]}` + "\n"))
	f.Add([]byte(`{"part":{"report":{},"logs":{"a.hlog":"AA=="}}}` + "\n"))
	f.Add([]byte("null\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = far.Write(data)
			_ = far.Close()
		}()
		const limit = 1000
		m, err := newLine(near).receive(limit, patience)
		_ = near.Close()
		<-sent
		line, _, whole := bytes.Cut(data, []byte("\n"))
		if whole && len(line) < limit {
			var want message
			if bad := json.Unmarshal(line, &want); (bad == nil) != (err == nil) {
				t.Errorf("%q: %v, want %v", line, err, bad)
			}
			return
		}
		if err == nil {
			t.Errorf("%d bytes without an end, or too many, are a message: %+v", len(data), m)
		}
	})
}
