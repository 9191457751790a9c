package albsim

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		plainGet, upgradeRequest("alpn"), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET http://a/b?c HTTP/1.0\nX:\n y\n\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	p := awsALB()
	set := balancerAttributes.read(nil, "attributes", new(Faults))
	server := &Server{plan: &plan{profile: p, set: set}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := newReader(raw)
		r, err := readRequest(br, &p, &set)
		if err != nil {
			return
		}
		if r.class.tier == severe {
			t.Fatalf("a severe request is routed: %+v", r.class)
		}
		if body := bodyReader(br, r.length); body != nil {
			discard(body, 1<<30)
		}
		r.port = 80
		match([]rule{{conditions: []condition{{field: "path-pattern", values: []string{"*a?"}}}}, {}}, r)
		fields := server.rewrite(r)
		var out bytes.Buffer
		c := &targetConn{bw: newWriter(&out)}
		if err := errors.Join(c.writeHead(r.method, r.target, fields), c.bw.Flush()); err != nil {
			t.Fatal(err)
		}
		// What is written must be one head, and read again as the same body: a smuggled second request is a bug.
		again, err := readRequest(newReader(out.Bytes()), &Profile{LimitKnobs: LimitKnobs{MaxRequestLine: 1 << 20, MaxHeaderLine: 1 << 20, MaxHeaders: 1 << 20}}, &set)
		if err != nil {
			t.Fatalf("the target would refuse it: %v\n%q", err, out.Bytes())
		}
		if again.length != r.length || again.method != r.method {
			t.Fatalf("length %d became %d, method %q became %q\n%q", r.length, again.length, r.method, again.method, out.Bytes())
		}
	})
}

// FuzzFrames holds that frames that are split or masked anew carry what those carried that came in, up to where that breaks off.
func FuzzFrames(f *testing.F) {
	key := []byte{1, 2, 3, 4}
	f.Add([]byte(frame(0x82, "0123456789", key)+frame(0x89, "ping", nil)+frame(0x01, "", nil)), uint8(3), false)
	f.Add([]byte(frame(0x02, strings.Repeat("x", 300), key)+"\x80"), uint8(0), true)
	f.Add([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), uint8(1), true)
	f.Fuzz(func(t *testing.T, in []byte, most uint8, remask bool) {
		if len(in) > 4096 {
			return
		}
		came, cameEnd := payloads(bytes.NewReader(in))
		r := &reframer{br: newReader(in), most: int64(most), remask: remask}
		out, err := io.ReadAll(r)
		if (cameEnd == nil) != (err == nil) {
			t.Fatalf("frames that end with %v come out with %v", cameEnd, err)
		}
		went, _ := payloads(bytes.NewReader(out))
		if !strings.HasPrefix(went, came) {
			t.Fatalf("%q became %q", came, went)
		}
	})
}

// payloads joins those of whole frames; the error is nil for an end between two.
func payloads(r io.Reader) (all string, err error) {
	for {
		f, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all += f.payload
	}
}
