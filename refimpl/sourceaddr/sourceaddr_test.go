package sourceaddr

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	p, err := ParsePrefixes(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFromXFFTakesTheRightmostUntrustedAddress(t *testing.T) {
	trusted := prefixes(t, "10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		name, peer string
		values     []string
		want       string
	}{
		{"untrusted peer", "192.0.2.1", []string{"1.1.1.1"}, "192.0.2.1"},
		{"no field", "10.0.0.1", nil, "10.0.0.1"},
		{"empty field", "10.0.0.1", []string{""}, "10.0.0.1"},
		{"one hop", "10.0.0.1", []string{"192.0.2.7"}, "192.0.2.7"},
		{"forged entry on the left", "10.0.0.1", []string{"1.1.1.1, 192.0.2.7"}, "192.0.2.7"},
		{"forged trusted entry on the left", "10.0.0.1", []string{"10.9.9.9, 192.0.2.7"}, "192.0.2.7"},
		{"a chain of trusted hops", "10.0.0.1", []string{"192.0.2.7, 10.0.0.3,10.0.0.2"}, "192.0.2.7"},
		{"more fields", "10.0.0.1", []string{"1.1.1.1", "192.0.2.7", "10.0.0.2"}, "192.0.2.7"},
		{"all trusted", "10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"not an address", "10.0.0.1", []string{"192.0.2.7, unknown"}, "10.0.0.1"},
		{"not an address behind a trusted hop", "10.0.0.1", []string{"192.0.2.7, <script>, 10.0.0.2"}, "10.0.0.2"},
		{"empty elements", "10.0.0.1", []string{"192.0.2.7, , ,"}, "192.0.2.7"},
		{"with a port", "10.0.0.1", []string{"192.0.2.7:4711"}, "192.0.2.7"},
		{"IPv6", "fd00::1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "fd00::1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 with a port", "fd00::1", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"IPv4 in brackets", "10.0.0.1", []string{"[192.0.2.7]"}, "10.0.0.1"},
		{"IPv4 in brackets with a port", "10.0.0.1", []string{"[192.0.2.7]:4711"}, "10.0.0.1"},
		{"a port out of range", "10.0.0.1", []string{"192.0.2.7:65536"}, "10.0.0.1"},
		{"a port that is none", "10.0.0.1", []string{"192.0.2.7:http"}, "10.0.0.1"},
		{"a colon and no port", "10.0.0.1", []string{"192.0.2.7:"}, "10.0.0.1"},
		{"a bracket left open", "fd00::1", []string{"[2001:db8::1"}, "fd00::1"},
		{"brackets and nothing in them", "fd00::1", []string{"[]"}, "fd00::1"},
		{"in quotes", "fd00::1", []string{`"[2001:db8::1]"`}, "fd00::1"},
		{"a name", "10.0.0.1", []string{"client.example.test"}, "10.0.0.1"},
		{"forged in a field of its own behind garbage", "10.0.0.1", []string{"1.1.1.1", "\x00", "192.0.2.7"}, "192.0.2.7"},
		{"a stranger between trusted hops", "10.0.0.1", []string{"1.1.1.1, 10.0.0.9, 192.0.2.7, 10.0.0.2"}, "192.0.2.7"},
		{"with tabs", "10.0.0.1", []string{"\t192.0.2.7\t,\t10.0.0.2 "}, "192.0.2.7"},
		{"IPv6 with a zone", "fd00::1", []string{"fe80::1%eth0"}, "fd00::1"},
		{"mapped peer", "::ffff:10.0.0.1", []string{"192.0.2.7"}, "192.0.2.7"},
		{"mapped untrusted peer", "::ffff:192.0.2.1", []string{"1.1.1.1"}, "192.0.2.1"},
		{"mapped entry", "10.0.0.1", []string{"1.1.1.1, ::ffff:192.0.2.7"}, "192.0.2.7"},
		{"mapped trusted entry", "10.0.0.1", []string{"192.0.2.7, ::ffff:10.0.0.2"}, "192.0.2.7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := FromXFF(netip.MustParseAddr(c.peer), c.values, trusted); got.String() != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if got := FromXFF(netip.MustParseAddr("10.0.0.1"), []string{"192.0.2.7"}, nil); got.String() != "10.0.0.1" {
		t.Errorf("trusting nobody: got %v", got)
	}
	if got := FromXFF(netip.Addr{}, []string{"192.0.2.7"}, trusted); got.IsValid() {
		t.Errorf("unknown peer: got %v", got)
	}
}

// FuzzFromXFF holds that nobody can speak for a client of a trusted hop but the hops: what stands left of the answer changes nothing.
func FuzzFromXFF(f *testing.F) {
	f.Add("192.0.2.7, 10.0.0.2", "1.1.1.1")
	f.Add("[2001:db8::1]:4711", "10.0.0.3,")
	f.Add(", ,unknown", "192.0.2.7")
	trusted := prefixes(f, "10.0.0.0/8", "fd00::/8")
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, value, forged string) {
		got := FromXFF(peer, []string{value}, trusted)
		if !got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("%q names %v", value, got)
		}
		if Trusted(got, trusted) {
			return // the walk came to the end or to garbage: what stands left may yet be heard
		}
		for _, values := range [][]string{{forged, value}, {forged + "," + value}} {
			if again := FromXFF(peer, values, trusted); again != got {
				t.Errorf("%q makes %v of %q, which names %v", forged, again, value, got)
			}
		}
	})
}

func TestTrustedComparesUnmapped(t *testing.T) {
	for _, c := range []struct {
		addr, network string
		want          bool
	}{
		{"10.1.2.3", "10.0.0.0/8", true},
		{"::ffff:10.1.2.3", "10.0.0.0/8", true},
		{"10.1.2.3", "::ffff:10.0.0.0/104", true},
		{"11.1.2.3", "10.0.0.0/8", false},
		{"10.1.2.3", "::/0", false},
		{"2001:db8::1", "2001:db8::/32", true},
		{"fe80::1%eth0", "fe80::/10", true},
		{"127.0.0.1", "127.0.0.1", true},
	} {
		if got := Trusted(netip.MustParseAddr(c.addr), prefixes(t, c.network)); got != c.want {
			t.Errorf("%s in %s: %v", c.addr, c.network, got)
		}
		raw, err := netip.ParsePrefix(c.network)
		if err == nil && Trusted(netip.MustParseAddr(c.addr), []netip.Prefix{raw}) != c.want {
			t.Errorf("%s in %s, not normalised: %v", c.addr, c.network, !c.want)
		}
	}
	if Trusted(netip.Addr{}, prefixes(t, "0.0.0.0/0", "::/0")) {
		t.Error("an invalid address is trusted")
	}
}

func TestParsePrefixesNamesTheFault(t *testing.T) {
	if _, err := ParsePrefixes([]string{"10.0.0.0/8", "example.test"}); err == nil ||
		err.Error() != `trusted[1]: "example.test" is neither a network (10.0.0.0/8) nor an address` {
		t.Errorf("got %v", err)
	}
	got := prefixes(t, "10.1.2.3/8", "192.0.2.1", "::1")
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("::1/128")}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
