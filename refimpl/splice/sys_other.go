//go:build !linux

package splice

import "net"

// readyReader is an ordinary read here: the buffer is held while nothing comes.
type readyReader struct{ conn *net.TCPConn }

func newReadyReader(conn *net.TCPConn) (readyReader, error) { return readyReader{conn}, nil }

func (r readyReader) read() (buf *[bufferSize]byte, n int, err error) {
	buf = buffers.Get().(*[bufferSize]byte)
	n, err = r.conn.Read(buf[:])
	return buf, n, err
}

// The queues cannot be looked into: nothing is spliced, and nothing is waited for before a reset.

func unread(*net.TCPConn) int { return 0 }

func unsent(*net.TCPConn) int { return 0 }

func closed(*net.TCPConn) bool { return false }

func discard(*net.TCPConn) {}

func awaitReset(*net.TCPConn) error { return nil }
