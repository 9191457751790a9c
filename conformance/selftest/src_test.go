package selftest

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/tlsroute/tlsroute-bench/conformance"
	"github.com/tlsroute/tlsroute-bench/conformance/door"
	"github.com/tlsroute/tlsroute-bench/conformance/wire"
	"github.com/tlsroute/tlsroute-bench/refimpl/router"
)

// frontedInstances starts instances behind a fault proxy.
type frontedInstances struct {
	conformance.Launcher
	t  *testing.T
	up fault
}

func (f frontedInstances) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	i, err := f.Launcher.Launch(ctx, doc)
	if err != nil {
		return nil, err
	}
	return behindFront{i, faultProxy(f.t, i.Address(), f.up, nil)}, nil
}

// frontedWhole starts instances behind something that is more than a fault in one direction.
type frontedWhole struct {
	frontedInstances
	handle func(c net.Conn, dial func() net.Conn)
	own    bool // what is plain on the port is the front's own, and the router behind it knows nothing of it
}

func (f frontedWhole) Launch(ctx context.Context, doc door.Router) (conformance.Instance, error) {
	if f.own {
		doc.Plaintext = nil
	}
	i, err := f.Launcher.Launch(ctx, doc)
	if err != nil {
		return nil, err
	}
	return behindFront{i, serve(f.t, i.Address(), f.handle)}, nil
}

type behindFront struct {
	conformance.Instance
	address string
}

func (b behindFront) Address() string { return b.address }

// instancesBehind is the reference router whose instances are behind a front that spoils what clients send.
func instancesBehind(up fault) func(t *testing.T) conformance.Target {
	return func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		target.Launcher = frontedInstances{target.Launcher, t, up}
		return target
	}
}

// first gives change what the client's first read brings, in place of which goes what it returns; nil closes the connection.
func first(change func(head []byte) []byte) fault {
	return func(dst, src net.Conn) {
		head := make([]byte, 4096)
		n, err := src.Read(head)
		if err != nil {
			return
		}
		out := change(head[:n])
		if out == nil {
			src.Close()
			return
		}
		if _, err := dst.Write(out); err == nil {
			_, _ = io.Copy(dst, src)
		}
	}
}

func isV2(head []byte) bool { return bytes.HasPrefix(head, []byte(wire.ProxyV2Signature)) }

// sendProxy changes how backends are told.
func sendProxy(from, to string) func(t *testing.T) conformance.Target {
	return mutatedConfig(func(_ *lab, c *router.Config) {
		for i := range c.Routes {
			if b := &c.Routes[i].Backend; b.SendProxy == from {
				b.SendProxy = to
			}
		}
	})
}

func trusting(who func(c *router.Config) *[]string, more ...string) func(t *testing.T) conformance.Target {
	return mutatedConfig(func(_ *lab, c *router.Config) {
		list := who(c)
		*list = append((*list)[:len(*list):len(*list)], more...)
	})
}

func init() {
	addMutant("SRC-01", "knows TCP4 only", instancesBehind(first(func(head []byte) []byte {
		if bytes.HasPrefix(head, []byte("PROXY ")) && !bytes.HasPrefix(head, []byte("PROXY TCP4 ")) {
			return nil
		}
		return head
	})))
	addMutant("SRC-02", "keyword in any case", instancesBehind(first(func(head []byte) []byte {
		return append(bytes.ToUpper(head[:min(6, len(head))]), head[min(6, len(head)):]...)
	})))
	addMutant("SRC-03", "takes TLVs for the client's bytes", instancesBehind(first(func(head []byte) []byte {
		if isV2(head) && head[13] == wire.ProxyTCP4 {
			binary.BigEndian.PutUint16(head[14:], 12)
		}
		return head
	})))
	addMutant("SRC-03", "dies of a UNIX socket", instancesBehind(first(func(head []byte) []byte {
		if isV2(head) && head[13] == wire.ProxyUnix {
			return nil
		}
		return head
	})))
	addMutant("SRC-04", "believes the block of LOCAL", instancesBehind(first(func(head []byte) []byte {
		if isV2(head) && head[12] == wire.ProxyLocal {
			head[12] = wire.ProxyProxy
		}
		return head
	})))
	addMutant("SRC-05", "serves without a header", mutatedConfig(func(_ *lab, c *router.Config) {
		if c.ProxyProtocol.Mode == "required" {
			c.ProxyProtocol.Mode = "optional"
		}
	}))
	addMutant("SRC-05-U", "trusts everybody", trusting(func(c *router.Config) *[]string { return &c.ProxyProtocol.Trusted }, "0.0.0.0/0"))
	addMutant("SRC-05-O", "guesses", mutatedConfig(func(_ *lab, c *router.Config) {
		if c.ProxyProtocol.Mode == "off" {
			c.ProxyProtocol = router.ProxyProtocol{Mode: "optional", Trusted: []string{"127.0.0.0/8"}}
		}
	}))
	addMutant("SRC-06", "wants the header in one read", instancesBehind(first(func(head []byte) []byte {
		whole := isV2(head) && len(head) >= 16 && len(head) >= 16+int(binary.BigEndian.Uint16(head[14:]))
		if whole || bytes.HasPrefix(head, []byte("PROXY ")) && bytes.Contains(head, []byte("\r\n")) {
			return head
		}
		return nil
	})))
	addMutant("SRC-07", "sends none", sendProxy("v1", router.Off))
	addMutant("SRC-07", "sends another version", sendProxy("v1", "v2"))
	addMutant("SRC-08", "sends no TLVs", sendProxy("v2", "v1"))
	addMutant("SRC-09", "does not verify", instancesBehind(first(func(head []byte) []byte {
		if isV2(head) && len(head) > 28 && head[28] == 0x03 {
			head[28] = 0x04 // PP2_TYPE_NOOP
		}
		return head
	})))
	forwarders := func(c *router.Config) *[]string { return &c.ForwardedFor.Trusted }
	addMutant("SRC-10", "trusts every hop", trusting(forwarders, "0.0.0.0/0", "::/0"))
	addMutant("SRC-10", "trusts the nearest hop only", mutatedConfig(func(_ *lab, c *router.Config) {
		if list := c.ForwardedFor.Trusted; len(list) > 1 {
			c.ForwardedFor.Trusted = list[:1]
		}
	}))
	addMutant("SRC-10-U", "trusts everybody", trusting(forwarders, "127.0.0.0/8"))
	addMutant("SRC-11", "compares text", func(t *testing.T) conformance.Target {
		target := newLab(t).start(t, nil)
		target.Launcher = frontedInstances{target.Launcher, t, first(func(head []byte) []byte {
			return bytes.ReplaceAll(head, []byte("::ffff:10.1.2.3"), []byte("2001:db8::102:3"))
		})}
		return plainUpgrade(target)
	})
}
