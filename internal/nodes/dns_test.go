package nodes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, addresses ...netip.Addr) (*DNS, *net.Resolver) {
	t.Helper()
	d, err := Serve("alb.example.test", time.Minute, addresses)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", d.Addr())
	}}
}

func TestAnswersWithTheAddressesOfTheMoment(t *testing.T) {
	a, b := netip.MustParseAddr("127.0.1.1"), netip.MustParseAddr("127.0.1.2")
	d, resolver := start(t, a)
	for _, want := range [][]netip.Addr{{a}, {a, b}, {b}} {
		d.Set(want)
		got, err := resolver.LookupNetIP(t.Context(), "ip4", "ALB.example.test.")
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	if d.Asked() != 3 {
		t.Errorf("asked %d times", d.Asked())
	}
	if got, err := resolver.LookupNetIP(t.Context(), "ip6", "alb.example.test."); len(got) > 0 || err == nil {
		t.Errorf("IPv6 addresses %v, %v", got, err)
	}
}

func TestKnowsNoOtherName(t *testing.T) {
	d, resolver := start(t, netip.MustParseAddr("127.0.1.1"))
	for _, name := range []string{"example.test.", "blb.example.test.", "x.alb.example.test."} {
		_, err := resolver.LookupNetIP(t.Context(), "ip4", name)
		if unknown, ok := errors.AsType[*net.DNSError](err); !ok || !unknown.IsNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.Asked() != 0 {
		t.Errorf("asked %d times", d.Asked())
	}
}

func TestGarbageIsNotAnswered(t *testing.T) {
	d, resolver := start(t, netip.MustParseAddr("127.0.1.1"))
	for _, query := range []string{"", "x", "\x00\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff"} {
		if got := d.answer([]byte(query)); got != nil {
			t.Errorf("%q: answered %q", query, got)
		}
	}
	if _, err := resolver.LookupNetIP(t.Context(), "ip4", "alb.example.test."); err != nil {
		t.Error(err)
	}
}

func TestNamesThatAreNone(t *testing.T) {
	if d, err := Serve(string(make([]byte, 300)), 0, nil); err == nil {
		t.Errorf("a name of 300 bytes, %v", d.Close())
	}
}
