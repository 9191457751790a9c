package capture

import (
	"encoding/binary"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// socketBuffer is asked for, in bytes, so that a burst of a load test is not dropped while the reader is elsewhere.
const socketBuffer = 16 << 20

// socket is a packet socket (packet(7)) as a file of the runtime's poller, so that deadlines and Close end a Read; gopacket's
// own handle can do neither.
type socket struct{ *os.File }

// openSocket listens to TCP segments from and to the ports on an interface. The filter is in place before the first packet
// can be queued: the socket is bound to a protocol only after it.
func openSocket(iface string, ports []uint16) (source, error) {
	nic, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("open a packet socket", err)
	}
	fail := func(step string, err error) (source, error) {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError(step, err)
	}
	code := filter(ports)
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fail("attach the packet filter", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer); err != nil {
		// Without CAP_NET_ADMIN: as much as the system allows everybody.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: nic.Index}); err != nil {
		return fail("bind the packet socket to "+iface, err)
	}
	return socket{os.NewFile(uintptr(fd), "packets of "+iface)}, nil
}

// Dropped counts packets that the kernel had no room for. Asking sets the kernel's count back.
func (s socket) Dropped() int {
	conn, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	err = conn.Control(func(fd uintptr) {
		if stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			n = int(stats.Drops)
		}
	})
	if err != nil {
		return 0
	}
	return n
}

// filter lets TCP over IPv4 (no later fragments) or IPv6 (no extension headers) through if either port is one of these.
// On loopback each packet is seen leaving and arriving; leaving ones are not taken. Jumps of this machine (bpf(4)) are
// counted from the next instruction and are at most 255 long, so each comparison has its own return behind it.
func filter(ports []uint16) []unix.SockFilter {
	const (
		loadAbsolute = unix.BPF_LD | unix.BPF_ABS
		loadIndirect = unix.BPF_LD | unix.BPF_IND
		equal        = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		take         = 1 << 18 // all of the frame
		// packetType is SKF_AD_OFF + SKF_AD_PKTTYPE of linux/filter.h, -0x1000 + 4: where the kernel keeps what is not in the frame.
		packetType = 0xfffff004
	)
	load := func(mode uint16, size uint16, off uint32) unix.SockFilter {
		return unix.SockFilter{Code: mode | size, K: off}
	}
	give := func(n uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: n} }
	// must goes on when the value is v and drops the frame otherwise.
	must := func(v uint32) []unix.SockFilter { return []unix.SockFilter{{Code: equal, Jt: 1, K: v}, give(0)} }
	either := func(mode uint16, off uint32) []unix.SockFilter {
		var code []unix.SockFilter
		for _, at := range []uint32{off, off + 2} { // source port, destination port
			code = append(code, load(mode, unix.BPF_H, at))
			for _, p := range slices.Compact(slices.Sorted(slices.Values(ports))) {
				code = append(code, unix.SockFilter{Code: equal, Jf: 1, K: uint32(p)}, give(take))
			}
		}
		return append(code, give(0))
	}
	four := slices.Concat(
		[]unix.SockFilter{load(loadAbsolute, unix.BPF_B, 23)}, must(unix.IPPROTO_TCP),
		[]unix.SockFilter{
			load(loadAbsolute, unix.BPF_H, 20), {Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: 0x1fff}, give(0), // fragment offset
			{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 14}, // X = length of the IPv4 header
		},
		either(loadIndirect, 14))
	six := slices.Concat([]unix.SockFilter{load(loadAbsolute, unix.BPF_B, 20)}, must(unix.IPPROTO_TCP), either(loadAbsolute, 54))
	return slices.Concat(
		[]unix.SockFilter{
			load(loadAbsolute, unix.BPF_W, packetType),
			{Code: equal, Jf: 1, K: unix.PACKET_OUTGOING},
			give(0),
			load(loadAbsolute, unix.BPF_H, 12),
			{Code: equal, Jf: 1, K: unix.ETH_P_IP},
			{Code: unix.BPF_JMP | unix.BPF_JA, K: 3},
			{Code: equal, Jf: 1, K: unix.ETH_P_IPV6},
			{Code: unix.BPF_JMP | unix.BPF_JA, K: 1 + uint32(len(four))},
			give(0),
		}, four, six)
}
