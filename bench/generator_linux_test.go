package bench

import (
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	bareOpen = func(b *testing.B, dial Dial, rate float64) time.Duration {
		b.Helper()
		list := generatorSessions(b, dial)
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(epoll)
		for i, s := range list {
			c := pollableUnder(s.conn)
			if err := c.detach(); err != nil {
				b.Fatal(err)
			}
			c.eager.Store(true)
			if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, int(c.fd.Load()), &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(i)}); err != nil {
				b.Fatal(err)
			}
		}
		due, trips, flying := make([]int, len(list)), 0, 0 // due are the requests of each that have no answer
		send := func(i int) {
			flying++
			if _, err := list[i].conn.Write(list[i].out()); err != nil {
				b.Error(err)
			}
		}
		start := time.Now()
		var events [8]unix.EpollEvent
		until := func(offset time.Duration) {
			wait := unix.NsecToTimespec(int64(max(0, offset-time.Since(start))))
			n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&wait)), 0, 0)
			if errno != 0 {
				return
			}
			for _, e := range events[:n] {
				if n, _ := list[e.Fd].conn.Read(list[e.Fd].in()); n != echoSize {
					continue
				}
				trips, flying = trips+1, flying-1
				if due[e.Fd]--; due[e.Fd] > 0 {
					send(int(e.Fd))
				}
			}
		}
		used := ownTime(b)
		plan := &WorkloadPlan{Rate: rate, Arrival: ArrivalPoisson}
		paceBy(b.Context(), start, newSchedule(1, "bare", plan, 0, generatorTime), until, func(a arrival, _ time.Duration) {
			i := a.seq % len(list)
			if due[i]++; due[i] == 1 {
				send(i)
			}
		})
		for flying > 0 && b.Context().Err() == nil {
			until(time.Since(start) + time.Second)
		}
		return (ownTime(b) - used) / time.Duration(trips)
	}
}
