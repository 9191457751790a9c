package clienthello

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRefusesMalformedHellosWithTheRightAlert(t *testing.T) {
	const decode, illegal = AlertDecodeError, AlertIllegalParameter
	b := body()
	for _, c := range []struct {
		name  string
		msg   []byte
		alert uint8
	}{
		{"nothing", nil, decode},
		{"header alone", []byte{1, 0, 0, 0}, decode},
		{"length too large", []byte{1, 0, 0, 9, 3, 3}, decode},
		{"bytes behind the message", append(hello(), 0), decode},
		{"server hello", message(2, b), AlertUnexpectedMessage},
		{"cut off in the random", message(1, b[:20]), decode},
		{"session id of 33 bytes", message(1, slices.Concat(b[:34], vec(1, make([]byte, 33)), b[67:])), decode},
		{"no cipher suites", message(1, slices.Concat(b[:67], vec(2), vec(1, []byte{0}))), decode},
		{"odd cipher suites", message(1, slices.Concat(b[:67], vec(2, []byte{1, 2, 3}), vec(1, []byte{0}))), decode},
		{"no compression methods", message(1, slices.Concat(b[:67], vec(2, []byte{0x13, 1}), vec(1))), decode},
		{"bytes behind the extensions", message(1, slices.Concat(b, vec(2), []byte{0})), decode},
		{"extensions cut off", message(1, append(b, 0, 9, 0)), decode},
		{"extension header cut off", hello([]byte{0, 5, 0}), decode},
		{"extension cut off", hello([]byte{0, 5, 0, 9, 1}), decode},
		{"extension twice", hello(ext(23, nil), sni(host("a.test")), ext(23, nil)), illegal},
		{"server_name twice", hello(sni(host("a.test")), sni(host("b.test"))), illegal},
		{"pre_shared_key in the middle", hello(ext(extPreSharedKey, []byte{1}), ext(23, nil)), illegal},

		{"server_name: empty", hello(ext(extServerName, nil)), decode},
		{"server_name: empty list", hello(sni()), decode},
		{"server_name: empty name", hello(sni(host(""))), decode},
		{"server_name: two host names", hello(sni(host("a.test"), host("b.test"))), illegal},
		{"server_name: NUL", hello(sni(host("a.test\x00.evil"))), illegal},
		{"server_name: blank", hello(sni(host("a test"))), illegal},
		{"server_name: not ASCII", hello(sni(host("bücher.test"))), illegal},
		{"server_name: bytes behind the list", hello(ext(extServerName, append(vec(2, host("a.test")), 0))), decode},
		{"server_name: bytes behind the name", hello(sni(append(host("a.test"), 0))), decode},
		{"server_name: list cut off", hello(ext(extServerName, []byte{0, 9, 0, 0})), decode},
		{"server_name: name cut off", hello(sni([]byte{0, 0, 9, 'a'})), decode},

		{"alpn: empty", hello(ext(extALPN, nil)), decode},
		{"alpn: empty list", hello(alpn()), decode},
		{"alpn: empty name", hello(alpn("p", "")), decode},
		{"alpn: bytes behind the list", hello(ext(extALPN, append(vec(2, []byte("\x01p")), 0))), decode},
		{"alpn: name cut off", hello(ext(extALPN, vec(2, []byte("\x09p")))), decode},

		{"supported_versions: empty", hello(ext(extSupportedVersions, nil)), decode},
		{"supported_versions: empty list", hello(ext(extSupportedVersions, []byte{0})), decode},
		{"supported_versions: odd", hello(ext(extSupportedVersions, []byte{3, 3, 4, 3})), decode},
		{"ech: empty", hello(ext(extECH, nil)), decode},
	} {
		t.Run(c.name, func(t *testing.T) {
			info, err := Parse(c.msg)
			var bad *Error
			if !errors.As(err, &bad) || info != nil {
				t.Fatalf("got %+v, %v; want an *Error", info, err)
			}
			if bad.Alert != c.alert {
				t.Errorf("%v: alert %d, want %d", err, bad.Alert, c.alert)
			}
		})
	}
}

func TestParseTakesWhatIsLegal(t *testing.T) {
	grease := ext(0x1a1a, []byte{0})
	for _, c := range []struct {
		name string
		msg  []byte
		want Info
	}{
		{"no extensions at all", message(1, body()), Info{}},
		{"an empty block", hello(), Info{}},
		{
			"GREASE everywhere",
			hello(grease, sni(host("a.test")), alpn("\x2a\x2a", "p"), ext(extSupportedVersions, []byte{4, 0x3a, 0x3a, 3, 4}), ext(0xfafa, nil)),
			Info{ServerName: "a.test", ALPN: []string{"\x2a\x2a", "p"}, SupportedVersions: []uint16{0x3a3a, 0x0304}},
		},
		{"any order", hello(alpn("p"), ext(23, nil), sni(host("a.test"))), Info{ServerName: "a.test", ALPN: []string{"p"}}},
		{"a name of an unknown type", hello(sni(append([]byte{9}, vec(2, []byte{0, 0})...), host("a.test"))), Info{ServerName: "a.test"}},
		{"only a name of an unknown type", hello(sni(append([]byte{9}, vec(2, []byte("x"))...))), Info{}},
		{"ECH", hello(sni(host("public.test")), ext(extECH, []byte{0, 1})), Info{ServerName: "public.test", HasECH: true}},
		{"pre_shared_key at the end", hello(sni(host("a.test")), ext(extPreSharedKey, []byte{1})), Info{ServerName: "a.test"}},
		{"case and trailing dot are kept", hello(sni(host("A.Test."))), Info{ServerName: "A.Test."}},
		{"ALPN of any bytes", hello(alpn("\x00\xff")), Info{ALPN: []string{"\x00\xff"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.msg)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Raw, c.msg) {
				t.Error("Raw is not the message")
			}
			got.Raw = nil
			if d := cmp.Diff(&c.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// Cutting a hello short anywhere must be seen, and never crash.
func TestParseRefusesEveryPrefix(t *testing.T) {
	full := hello(sni(host("a.test")), alpn("p", "q"), ext(extSupportedVersions, []byte{2, 3, 4}))
	for n := range full {
		if info, err := Parse(full[:n]); err == nil {
			t.Errorf("%d of %d bytes: %+v", n, len(full), info)
		}
	}
}
